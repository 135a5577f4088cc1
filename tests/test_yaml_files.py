"""YAML of strangers: plain values, and few of them, whatever aliases and depth promise."""

import pytest

from lxmert.errors import ConfigurationError
from lxmert.yaml_files import parse_yaml
from tests.error_assertions import error_message


def refused(text: str, words: str) -> None:
    assert words in error_message(ConfigurationError, lambda: parse_yaml(text))


def test_anchors_and_merged_sections_are_read() -> None:
    text = "base: &base {epochs: 4, rate: 1e-4}\nlong: {<<: *base, epochs: 8}\nsame: *base\n"
    base = {"epochs": 4, "rate": "1e-4"}
    assert parse_yaml(text) == {"base": base, "long": {**base, "epochs": 8}, "same": base}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("first", "next_one"), [("[x, x]", "[%s]"), ("[]", "[%s]"), ("{k: x}", "{<<: [%s]}")]
)
def test_a_few_lines_that_stand_for_more_than_memory_holds_are_refused(first: str, next_one: str) -> None:
    lines = [f"n0: &n0 {first}"]
    for number in range(1, 12):
        tenfold = next_one % ", ".join([f"*n{number - 1}"] * 10)
        lines.append(f"n{number}: &n{number} {tenfold}")
    refused("\n".join(lines), "unsupported YAML: more than 100,000 values")


def test_a_value_that_holds_itself_or_is_too_deep_is_refused() -> None:
    refused("a: &a [*a]", "a value that contains itself")
    refused("a: " + "[" * 20_000, "nested too deeply")


def test_a_key_that_occurs_twice_in_a_mapping_is_refused_with_its_lines() -> None:
    refused("a: 1\nb: {c: 1,\n  d: 2, c: 3}\n", "the key 'c' occurs twice, in lines 2 and 3")
    refused("- {'a': 1, a: 2}", "the key 'a' occurs twice")
    assert parse_yaml("a: {b: 1}\nb: 2\n1: 3\n'1': 4\n") == {"a": {"b": 1}, "b": 2, 1: 3, "1": 4}
    merged = "x: &x {a: 1}\ny: &y {b: 2}\nz: {<<: *x, <<: *y}\n"
    assert parse_yaml(merged)["z"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [ls]",
        "a: [",
        "2026-99-99",
        "!!int ''",
        "!!bool perhaps",
        "!!timestamp soon",
    ],
)
def test_what_is_no_plain_value_is_told_in_one_line(text: str) -> None:
    refused(text, "not YAML: ")

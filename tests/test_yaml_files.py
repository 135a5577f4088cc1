"""parse_yaml on untrusted text: plain values only, with limits on number and depth."""

import pytest
import yaml

from lxmert.errors import ConfigurationError
from lxmert.yaml_files import parse_yaml
from tests.error_assertions import error_message


def assert_rejected(text: str, message_part: str) -> None:
    assert message_part in error_message(ConfigurationError, lambda: parse_yaml(text))


def test_anchors_and_merge_keys_are_resolved() -> None:
    text = "base: &base {epochs: 4, rate: 1e-4}\nlong: {<<: *base, epochs: 8}\nsame: *base\n"
    base = {"epochs": 4, "rate": "1e-4"}
    assert parse_yaml(text) == {"base": base, "long": {**base, "epochs": 8}, "same": base}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("first", "next_one"), [("[x, x]", "[%s]"), ("[]", "[%s]"), ("{k: x}", "{<<: [%s]}")]
)
def test_exponential_alias_expansion_is_rejected(first: str, next_one: str) -> None:
    lines = [f"n0: &n0 {first}"]
    for number in range(1, 12):
        tenfold = next_one % ", ".join([f"*n{number - 1}"] * 10)
        lines.append(f"n{number}: &n{number} {tenfold}")
    assert_rejected("\n".join(lines), "unsupported YAML: more than 100,000 values")


def test_recursive_and_too_deeply_nested_values_are_rejected() -> None:
    assert_rejected("a: &a [*a]", "a value that contains itself")
    assert_rejected("a: " + "[" * 20_000, "nested too deeply")


def test_duplicate_key_is_rejected_with_its_line_numbers() -> None:
    assert_rejected("a: 1\nb: {c: 1,\n  d: 2, c: 3}\n", "the key 'c' occurs twice, in lines 2 and 3")
    assert_rejected("- {'a': 1, a: 2}", "the key 'a' occurs twice")
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
def test_invalid_or_unsafe_yaml_raises_single_line_error(text: str) -> None:
    assert_rejected(text, "not YAML: ")


def test_text_too_long_to_parse_quickly_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "compose")
    assert_rejected("[" + "1," * 1_000_000 + "]", "more than 200,000 characters")


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 6000, "1_8446744073709551616", "-0x1" + "0" * 16, "1" + ":1" * 12]
)
def test_integer_beyond_64_bits_is_refused_with_its_line_number(number: str) -> None:
    assert_rejected(f"a: 1\nb: [{number}]", "the integer in line 2 has more than 64 bits")


def test_integers_of_64_bits_are_read() -> None:
    assert parse_yaml("[18446744073709551615, -0x8000000000000000, 0b11]") == [2**64 - 1, -(2**63), 3]

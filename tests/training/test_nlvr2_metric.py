"""NLVR2 scores by hand from the official rules; the official script's own outputs are in tests/parity."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.nlvr2 import Nlvr2Example
from lxmert.errors import DataError
from lxmert.training.metrics.nlvr2 import nlvr2_scores, truth_value


def example(identifier: str, label: bool | None) -> Nlvr2Example:
    split, number, _, sentence = identifier.split("-")
    return Nlvr2Example(identifier, "It is.", label, "l", "r", f"{split}-{number}--{sentence}")


EXAMPLES = [
    example("dev-1-0-0", True),
    example("dev-1-1-0", False),
    example("dev-1-0-1", True),
    example("dev-10-0-0", False),
    example("dev-1-10-0", True),
]
PERFECT = {one.identifier: one.label for one in EXAMPLES}

FILES = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.booleans(), st.booleans()),
    min_size=1,
)


def test_consistency_counts_sentences_with_all_pairs_right() -> None:
    scores = nlvr2_scores(PERFECT, iter(EXAMPLES))
    assert (scores.accuracy, scores.consistency, scores.groups) == (1, 1, 3)
    # One wrong pair of three spoils its group; the groups of one stay right.
    scores = nlvr2_scores(PERFECT | {"dev-1-10-0": False}, EXAMPLES)
    assert (scores.accuracy, scores.consistency) == (0.8, 2 / 3)
    assert (scores.accuracy_percent, scores.consistency_percent) == (80, pytest.approx(66.6666666))


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_accuracy_and_consistency_match_definition(
    file: dict[tuple[int, int, int], tuple[bool, bool]],
) -> None:
    names = {key: f"dev-{key[0]}-{key[1]}-{key[2]}" for key in file}
    examples = [example(names[key], label) for key, (label, _) in file.items()]
    predictions = {names[key]: predicted for key, (_, predicted) in file.items()}
    scores = nlvr2_scores(predictions, examples)
    right = {key: label == predicted for key, (label, predicted) in file.items()}
    sentences = {(number, sentence) for number, _, sentence in file}
    whole = [all(ok for key, ok in right.items() if (key[0], key[2]) == one) for one in sentences]
    assert scores.accuracy == sum(right.values()) / len(right)
    assert scores.consistency == sum(whole) / len(sentences)
    assert (scores.accuracy == 1) == (scores.consistency == 1)

    opposite = nlvr2_scores({one: not predicted for one, predicted in predictions.items()}, examples)
    assert opposite.accuracy + scores.accuracy == pytest.approx(1)
    spelled = {one: str(predicted) for one, predicted in reversed(predictions.items())}
    assert nlvr2_scores(spelled, examples[::-1]) == scores
    always = nlvr2_scores(dict.fromkeys(predictions, True), examples)
    assert (always.accuracy, always.predicted_true) == (scores.always_true, 1)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("True", True),
        ("TRUE", True),
        ("true", True),
        ("fAlse", False),
        (" True", None),
        ("1", None),
        ("", None),
        ("yes", None),
        ("ＴＲＵＥ", None),
        (True, True),
        (False, False),
    ],
)
def test_truth_value_accepts_true_and_false_in_any_case(word: bool | str, expected: bool | None) -> None:
    assert truth_value(word) is expected


def test_unclear_predictions_count_as_wrong_for_any_label() -> None:
    scores = nlvr2_scores(dict.fromkeys(PERFECT, "perhaps"), EXAMPLES)
    assert (scores.accuracy, scores.consistency, scores.unclear) == (0, 0, 5)


def test_missing_predictions_raise_or_count_as_wrong_and_unknown_are_ignored() -> None:
    some = {"dev-1-0-0": True, "dev-99-0-0": True}
    with pytest.raises(DataError, match="4 of 5 examples have no prediction, starting with dev-1-1-0"):
        nlvr2_scores(some, EXAMPLES)
    scores = nlvr2_scores(some, EXAMPLES, allow_missing=True)
    assert (scores.accuracy, scores.consistency, scores.missing, scores.unclear) == (0.2, 0, 4, 0)
    assert nlvr2_scores({}, EXAMPLES, allow_missing=True).accuracy == 0


@pytest.mark.parametrize(
    ("predictions", "examples", "message"),
    [
        ({}, [], "no example"),
        ({"dev-1-0-0": True}, [example("dev-1-0-0", None)], "dev-1-0-0 has no label"),
        ({"dev-1-0-0": 1}, [example("dev-1-0-0", True)], "is 1; expected a bool"),
        ({"dev-1-0-0": None}, [example("dev-1-0-0", True)], "is None; expected a bool"),
    ],
)
def test_invalid_examples_or_predictions_raise_data_error(
    predictions: Any, examples: list[Nlvr2Example], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        nlvr2_scores(predictions, examples)

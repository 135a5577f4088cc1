"""Worked out by hand from the official rules; the official code's own outputs are in tests/parity."""

import pytest

from lxmert.data.vqa import VqaExample
from lxmert.errors import DataError
from lxmert.training.metrics.vqa import VqaEvaluator, question_accuracy, vqa_accuracy


def example(
    number: int, *answers: str, question_type: str = "what", answer_type: str = "other"
) -> VqaExample:
    return VqaExample(number, 1, "?", question_type, answer_type, answers)


@pytest.mark.parametrize(
    ("matches", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)]
)
def test_ten_annotators_give_the_well_known_steps(matches: int, expected: float) -> None:
    answers = ["dog"] * matches + ["cat"] * (10 - matches)
    assert question_accuracy("dog", answers) == pytest.approx(expected, abs=1e-12)


def test_unanimous_answers_are_compared_as_they_are_only_today() -> None:
    assert question_accuracy("Yes", ["yes"] * 10) == 0
    assert question_accuracy("Yes", ["yes"] * 10, evaluator=VqaEvaluator.BEFORE_2021_03) == 1


def test_before_2021_truths_keep_their_articles() -> None:
    answers = ["a dog"] * 5 + ["cat"] * 5
    assert question_accuracy("dog", answers) == 1
    assert question_accuracy("a dog", answers, evaluator=VqaEvaluator.BEFORE_2021_03) == 0


def test_records_that_are_equal_leave_together() -> None:
    answers = ["dog"] * 3 + ["cat"] * 7
    # Two of the three are one and the same record: left out, they leave one match of three; the other seven
    # and the third "dog" see 3 and 2 matches.
    annotators = ["1", "1", "2", *map(str, range(3, 10))]
    expected = (2 * (1 / 3) + 2 / 3 + 7 * 1.0) / 10
    assert question_accuracy("dog", answers, annotators) == pytest.approx(expected)


def test_figures_are_per_type_and_overall() -> None:
    examples = [
        example(1, *["yes"] * 10, question_type="is", answer_type="yes/no"),
        example(2, *["no"] * 10, question_type="is", answer_type="yes/no"),
        example(3, *["red"] * 10),
        example(4, "red", *["blue"] * 9),
    ]
    scores = vqa_accuracy({1: "yes", 2: "yes", 3: "red", 4: "red"}, examples)
    assert scores.overall == 57.5
    assert scores.per_question_type == {"is": 50.0, "what": 65.0}
    assert scores.per_answer_type == {"yes/no": 50.0, "other": 65.0}
    assert scores.per_question == {1: 100.0, 2: 0.0, 3: 100.0, 4: 30.0}
    assert (scores.questions, scores.questions_per_type) == (4, {"is": 2, "what": 2})


def test_exact_halves_are_rounded_away_from_zero_as_in_python_2() -> None:
    examples = [example(number, *["yes"] * 10) for number in range(32)]
    predictions = {number: "yes" if number == 0 else "no" for number in range(32)}
    assert vqa_accuracy(predictions, examples).overall == 3.13  # 3.125; Python 3 would say 3.12


@pytest.mark.parametrize(
    ("predictions", "message"),
    [({1: "yes"}, "1 missing, 0 extra"), ({1: "a", 2: "b", 3: "c"}, "0 missing, 1 extra .first: extra 3")],
)
def test_predictions_must_be_for_exactly_these_questions(predictions: dict[int, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        vqa_accuracy(predictions, [example(1, "x"), example(2, "x")])


def test_questions_without_answers_cannot_be_scored() -> None:
    with pytest.raises(DataError, match="question 5 has no annotated answers"):
        vqa_accuracy({5: "x"}, [example(5)])
    with pytest.raises(DataError, match="no question"):
        vqa_accuracy({}, [])

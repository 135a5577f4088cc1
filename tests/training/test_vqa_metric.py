"""VQA accuracy by hand from the official rules; the official code's own outputs are in tests/parity."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
def test_question_accuracy_with_ten_annotators_rises_by_0_3_per_match(matches: int, expected: float) -> None:
    answers = ["dog"] * matches + ["cat"] * (10 - matches)
    assert question_accuracy("dog", answers) == pytest.approx(expected, abs=1e-12)


def test_unanimous_answers_are_normalised_only_by_evaluator_before_2021_03() -> None:
    assert question_accuracy("Yes", ["yes"] * 10) == 0
    assert question_accuracy("Yes", ["yes"] * 10, evaluator=VqaEvaluator.BEFORE_2021_03) == 1


def test_evaluator_before_2021_03_keeps_articles_in_annotated_answers() -> None:
    answers = ["a dog"] * 5 + ["cat"] * 5
    assert question_accuracy("dog", answers) == 1
    assert question_accuracy("a dog", answers, evaluator=VqaEvaluator.BEFORE_2021_03) == 0


def test_identical_annotator_records_are_left_out_together() -> None:
    answers = ["dog"] * 3 + ["cat"] * 7
    # Two of the three are one and the same record: left out, they leave one match of three; the other seven
    # and the third "dog" see 3 and 2 matches.
    annotators = ["1", "1", "2", *map(str, range(3, 10))]
    expected = (2 * (1 / 3) + 2 / 3 + 7 * 1.0) / 10
    assert question_accuracy("dog", answers, annotators) == pytest.approx(expected)


def test_vqa_accuracy_is_reported_per_type_and_overall() -> None:
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
def test_missing_or_extra_predictions_raise_data_error(predictions: dict[int, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        vqa_accuracy(predictions, [example(1, "x"), example(2, "x")])


def test_questions_without_answers_cannot_be_scored() -> None:
    with pytest.raises(DataError, match="question 5 has no annotated answers"):
        vqa_accuracy({5: "x"}, [example(5)])
    with pytest.raises(DataError, match="no question"):
        vqa_accuracy({}, [])


def test_allow_missing_scores_missing_as_wrong_and_rejects_extra_predictions() -> None:
    examples = [example(1, *["x"] * 10), example(2, *["x"] * 10, question_type="how")]
    scores = vqa_accuracy({1: "x"}, examples, allow_missing=True)
    assert (scores.overall, scores.missing, scores.questions) == (50.0, 1, 2)
    assert scores.per_question == {1: 100.0, 2: 0.0}
    assert scores.per_question_type == {"what": 100.0, "how": 0.0}
    with pytest.raises(DataError, match="1 extra"):
        vqa_accuracy({1: "x", 2: "x", 3: "x"}, examples, allow_missing=True)


def test_questions_are_counted_per_answer_type() -> None:
    examples = [
        example(1, "yes", answer_type="yes/no"),
        example(2, "3", answer_type="number"),
        example(3, "4"),
    ]
    scores = vqa_accuracy({1: "yes", 2: "3", 3: "4"}, examples)
    assert scores.questions_per_answer_type == {"yes/no": 1, "number": 1, "other": 1}


WORDS = st.sampled_from(["dog", "cat", "red box", "7"])  # words that normalisation leaves alone
ANNOTATOR_RECORDS = st.lists(st.tuples(WORDS, st.sampled_from("abc")), min_size=1, max_size=11)
few_examples = settings(max_examples=60, deadline=None)


@few_examples
@given(WORDS, ANNOTATOR_RECORDS, st.sampled_from(VqaEvaluator), st.randoms())
def test_question_accuracy_matches_definition_in_any_annotator_order(
    predicted: str, records: list[tuple[str, str]], evaluator: VqaEvaluator, random: Any
) -> None:
    expected = Fraction(0)
    for record in records:
        matches = sum(other != record and other[0] == predicted for other in records)
        expected += min(Fraction(1), Fraction(matches, 3)) / len(records)
    random.shuffle(records)
    found = question_accuracy(
        predicted, [text for text, _ in records], [who for _, who in records], evaluator
    )
    assert found == pytest.approx(float(expected), abs=1e-12)
    people = [str(number) for number in range(len(records))]
    texts = [text for text, _ in records]
    # Without names all are different people.
    assert question_accuracy(predicted, texts, (), evaluator) == question_accuracy(
        predicted, texts, people, evaluator
    )


@few_examples
@given(st.text(), st.lists(st.text(), min_size=1, max_size=10), st.sampled_from(VqaEvaluator))
def test_question_accuracy_is_between_zero_and_one_for_any_text(
    predicted: str, answers: list[str], evaluator: VqaEvaluator
) -> None:
    assert 0 <= question_accuracy(predicted, answers, (), evaluator) <= 1


@few_examples
@given(
    st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=10, max_size=10)), min_size=1, max_size=8),
    st.randoms(),
)
def test_question_order_does_not_change_scores(asked: list[tuple[str, list[str]]], random: Any) -> None:
    examples = [example(number, *answers) for number, (_, answers) in enumerate(asked)]
    predictions = {number: predicted for number, (predicted, _) in enumerate(asked)}
    scores = vqa_accuracy(predictions, examples)
    random.shuffle(examples)
    shuffled = vqa_accuracy(predictions, examples)
    assert shuffled.per_question == scores.per_question
    assert shuffled.overall == pytest.approx(scores.overall, abs=0.0101)  # a last bit may turn the rounding
    unanimous = [example(number, *[predicted] * 10) for number, (predicted, _) in enumerate(asked)]
    assert vqa_accuracy(predictions, unanimous).overall == 100


def test_empty_and_blank_answers_can_match() -> None:
    assert question_accuracy("", ["the", "a", "", "x"]) == pytest.approx((3 * 2 / 3 + 1) / 4)
    assert question_accuracy(" ", [""] * 10) == 1
    assert question_accuracy("the", [""] * 10) == 0  # all agree, so nothing is normalised

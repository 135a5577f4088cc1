"""The official VQA accuracy, in its present version and in the one before March 2021.

Source: GT-Vision-Lab/VQA `vqaEval.py`, reproduced bit for bit under Python 2.7,
rounding included. LXMERT's published figures of 2019 were made with the older version.

A prediction scores min(1, matches / 3), averaged over leaving out each annotator in turn: 0, 0.3, 0.6, 0.9, 1
for 0, 1, 2, 3, 4 or more of ten annotators.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from functools import reduce
from typing import Any

from lxmert.data.answer_normalisation import clean_white_space, normalise_answer, process_punctuation
from lxmert.data.vqa import VqaExample
from lxmert.errors import DataError

# Matching annotators that make an answer fully right.
_MATCHES_FOR_FULL_SCORE = 3

# The evaluator's default n: decimal places of its percentages.
_DECIMALS = 2


class VqaEvaluator(Enum):
    """Which version of the official evaluator to follow.

    PRESENT: both sides are normalised, but only where the annotators do not all agree.
    BEFORE_2021_03: the prediction is always normalised; annotators' answers only lose punctuation, and only
        where they do not all agree.
    """

    PRESENT = "present"
    BEFORE_2021_03 = "before-2021-03"


@dataclass(frozen=True)
class VqaScores:
    """The official figures: percentages 0..100, rounded to two decimals.

    Attributes:
        overall: Mean over all questions.
        per_answer_type: Mean per answer type, in order of first appearance.
        per_question_type: Mean per question type (family), in order of first appearance.
        per_question: Each question's accuracy by question id.
        questions: How many questions were scored.
        questions_per_type: How many of each question type.
    """

    overall: float
    per_answer_type: dict[str, float]
    per_question_type: dict[str, float]
    per_question: dict[int, float] = field(repr=False)
    questions: int
    questions_per_type: dict[str, int] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single questions, for JSON; the official names where there are any."""
        return {
            "overall": self.overall,
            "perAnswerType": self.per_answer_type,
            "perQuestionType": self.per_question_type,
            "questions": self.questions,
            "questionsPerType": self.questions_per_type,
        }


def question_accuracy(
    prediction: str,
    answers: Sequence[str],
    annotators: Sequence[str] = (),
    evaluator: VqaEvaluator = VqaEvaluator.PRESENT,
) -> float:
    """The official accuracy of one prediction, 0..1, unrounded.

    Args:
        prediction: The predicted answer, raw.
        answers: The annotators' raw answers, at least one; ten in VQA v2.
        annotators: Who gave each answer; answers of equal annotator and equal final text cancel each other.
            Empty: all are different people.
        evaluator: The evaluator's version.
    """
    if evaluator is VqaEvaluator.PRESENT:
        truths = [clean_white_space(answer) for answer in answers]
        predicted = clean_white_space(prediction)
        if len(set(truths)) > 1:
            truths = [normalise_answer(answer) for answer in truths]
            predicted = normalise_answer(predicted)
    else:
        truths = list(answers)
        predicted = normalise_answer(clean_white_space(prediction))
        if len(set(truths)) > 1:
            truths = [process_punctuation(answer) for answer in truths]
    return _leave_one_out(predicted, truths, annotators or [str(n) for n in range(len(truths))])


def _leave_one_out(predicted: str, truths: Sequence[str], annotators: Sequence[str]) -> float:
    records = list(zip(annotators, truths, strict=True))
    matching = [record for record in records if record[1] == predicted]
    # Annotators with the same record see the same others, so the float additions below have the
    # evaluator's own order and value.
    scores = [
        min(1.0, sum(other != record for other in matching) / _MATCHES_FOR_FULL_SCORE) for record in records
    ]
    return _plain_sum(scores) / len(scores)


def vqa_accuracy(
    predictions: Mapping[int, str],
    examples: Iterable[VqaExample],
    evaluator: VqaEvaluator = VqaEvaluator.PRESENT,
) -> VqaScores:
    """Score predictions against annotated questions.

    Args:
        predictions: Question id to answer: exactly the questions of `examples`.
        examples: Annotated questions.
        evaluator: The evaluator's version.

    Raises:
        DataError: There is no question, a question has no answers, or the predictions are for others.
    """
    examples = list(examples)
    _check(predictions, examples)
    accuracies = [
        question_accuracy(predictions[example.question_id], example.answers, example.annotators, evaluator)
        for example in examples
    ]
    by_answer_type: dict[str, list[float]] = {}
    by_question_type: dict[str, list[float]] = {}
    for example, accuracy in zip(examples, accuracies, strict=True):
        by_answer_type.setdefault(example.answer_type or "unknown", []).append(accuracy)
        by_question_type.setdefault(example.question_type or "unknown", []).append(accuracy)
    return VqaScores(
        overall=_percent_of_mean(accuracies),
        per_answer_type={name: _percent_of_mean(values) for name, values in by_answer_type.items()},
        per_question_type={name: _percent_of_mean(values) for name, values in by_question_type.items()},
        per_question={
            example.question_id: _rounded(100 * accuracy)
            for example, accuracy in zip(examples, accuracies, strict=True)
        },
        questions=len(examples),
        questions_per_type={name: len(values) for name, values in by_question_type.items()},
    )


def _check(predictions: Mapping[int, str], examples: Sequence[VqaExample]) -> None:
    if not examples:
        raise DataError("there is no question to score")
    unanswered = next((example for example in examples if not example.answers), None)
    if unanswered is not None:
        raise DataError(f"question {unanswered.question_id} has no annotated answers, so it cannot be scored")
    wanted = {example.question_id for example in examples}
    missing, extra = wanted - predictions.keys(), predictions.keys() - wanted
    if missing or extra:
        first = f"missing {min(missing)}" if missing else f"extra {min(extra)}"
        raise DataError(
            f"the predictions are not for these {len(wanted)} questions: {len(missing)} missing, "
            f"{len(extra)} extra (first: {first}); predict exactly the annotated questions"
        )


def _percent_of_mean(accuracies: Sequence[float]) -> float:
    return _rounded(100 * _plain_sum(accuracies) / len(accuracies))


def _plain_sum(numbers: Iterable[float]) -> float:
    """Add from left to right: from Python 3.12 on the built-in `sum` compensates, which changes last bits."""
    return reduce(operator.add, numbers, 0.0)


def _rounded(percent: float) -> float:
    """Round as Python 2 does: exact halves away from zero (3.125 to 3.13), where Python 3 rounds to even."""
    return float(Decimal(percent).quantize(Decimal(1).scaleb(-_DECIMALS), rounding=ROUND_HALF_UP))

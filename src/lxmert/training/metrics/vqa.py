"""The official VQA accuracy, in its present version and the one before March 2021.

Source: GT-Vision-Lab/VQA `vqaEval.py`, reproduced bit for bit under Python 2.7,
rounding included. LXMERT's published figures of 2019 were made with the older version.

A prediction scores min(1, matches / 3), averaged over leaving out each annotator in turn: 0, 0.3, 0.6, 0.9, 1
for 0, 1, 2, 3, 4 or more of ten annotators.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from functools import lru_cache
from typing import Any

from lxmert.data.answer_normalisation import clean_white_space, normalise_answer, process_punctuation
from lxmert.data.vqa import VqaExample
from lxmert.errors import DataError
from lxmert.training.metrics.by_type import ScoresByType
from lxmert.training.metrics.sums import plain_sum

# Matching annotators that give an answer the full score.
_MATCHES_FOR_FULL_SCORE = 3

# The evaluator's default n: decimal places of its percentages.
_DECIMALS = 2


class VqaEvaluator(Enum):
    """Version of the official evaluator.

    PRESENT: both sides are normalised, but only if the annotators do not all agree.
    BEFORE_2021_03: the prediction is always normalised; annotators' answers only lose punctuation, and only
        if they do not all agree.
    """

    PRESENT = "present"
    BEFORE_2021_03 = "before-2021-03"


@dataclass(frozen=True)
class VqaScores(ScoresByType):
    """The official figures: percentages 0..100, rounded to two decimals.

    Attributes:
        missing: Questions without a prediction, counted as wrong. 0 unless they were allowed.
    """

    missing: int = 0

    def to_dict(self) -> dict[str, Any]:
        """See `ScoresByType.to_dict`."""
        return super().to_dict() | {"missing": self.missing}


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
        annotators: Who gave each answer; answers of the same annotator and final text cancel each
            other. Empty: all annotators differ.
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
    if not annotators:
        return _distinct_leave_one_out(tuple(truth == predicted for truth in truths))
    return _leave_one_out(predicted, list(zip(annotators, truths, strict=True)))


@lru_cache(maxsize=65_536)
def _distinct_leave_one_out(matches: tuple[bool, ...]) -> float:
    """`_leave_one_out` for annotators who all differ: at most 2**10 combinations of matches."""
    return _leave_one_out("True", [(str(n), str(match)) for n, match in enumerate(matches)])


def _leave_one_out(predicted: str, records: Sequence[tuple[str, str]]) -> float:
    """Mean over the annotators' records (annotator, answer) of the score by the other annotators' answers."""
    matching = [record for record in records if record[1] == predicted]
    # Annotators with the same record have the same others, so the additions below have the evaluator's
    # order and floating point result.
    scores = [
        min(1.0, sum(other != record for other in matching) / _MATCHES_FOR_FULL_SCORE) for record in records
    ]
    return plain_sum(scores) / len(scores)


def vqa_accuracy(
    predictions: Mapping[int, str],
    examples: Iterable[VqaExample],
    evaluator: VqaEvaluator = VqaEvaluator.PRESENT,
    *,
    allow_missing: bool = False,
) -> VqaScores:
    """Score predictions against annotated questions.

    Args:
        predictions: Answers by question id, for exactly the questions of `examples`.
        examples: Annotated questions.
        evaluator: The evaluator's version.
        allow_missing: True counts questions without a prediction as wrong instead of refusing.

    Raises:
        DataError: There is no question, a question has no answers, or the predictions are for others.
    """
    examples = list(examples)
    missing = _count_missing(predictions, examples, allow_missing)
    accuracies = [
        question_accuracy(predictions[example.question_id], example.answers, example.annotators, evaluator)
        if example.question_id in predictions
        else 0.0
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
        questions_per_answer_type={name: len(values) for name, values in by_answer_type.items()},
        missing=missing,
    )


def _count_missing(
    predictions: Mapping[int, str], examples: Sequence[VqaExample], allow_missing: bool
) -> int:
    """Return the number of missing predictions; raise for what cannot be scored."""
    if not examples:
        raise DataError("there is no question to score")
    unanswered = next((example for example in examples if not example.answers), None)
    if unanswered is not None:
        raise DataError(f"question {unanswered.question_id} has no annotated answers, so it cannot be scored")
    expected_ids = {example.question_id for example in examples}
    missing, extra = expected_ids - predictions.keys(), predictions.keys() - expected_ids
    if extra or (missing and not allow_missing):
        first = f"missing {min(missing)}" if missing else f"extra {min(extra)}"
        raise DataError(
            f"the predictions are not for these {len(expected_ids):,} questions: {len(missing):,} missing, "
            f"{len(extra):,} extra (first: {first}); predict exactly the annotated questions"
        )
    return len(missing)


def _percent_of_mean(accuracies: Sequence[float]) -> float:
    return _rounded(100 * plain_sum(accuracies) / len(accuracies))


def _rounded(percent: float) -> float:
    """Round as Python 2 does: exact halves away from zero (3.125 to 3.13), where Python 3 rounds to even."""
    return float(Decimal(percent).quantize(Decimal(1).scaleb(-_DECIMALS), rounding=ROUND_HALF_UP))

"""Scoring questions by their soft labels: the user's own data, and the authors' files as in their code.

A prediction has its score in the label, exactly as spelled, and 0 if the label lacks it. For labels made from
the official annotations this differs little from the official accuracy.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lxmert.data.labels import LabelledQuestion
from lxmert.errors import DataError
from lxmert.training.metrics.by_type import ScoresByType
from lxmert.training.metrics.sums import mean_percent


class LabelledScores(ScoresByType):
    """Mean label scores; types are those in the file."""


def labelled_scores(predictions: Mapping[Any, str], questions: Iterable[LabelledQuestion]) -> LabelledScores:
    """Compute the mean score of questions, over all and by type; one without a prediction scores 0.

    Raises:
        DataError: A question has no label, or there are no questions.
    """
    overall: dict[Any, float] = {}
    by_answer_type: dict[str, list[float]] = {}
    by_question_type: dict[str, list[float]] = {}
    for question in questions:
        if question.label is None:
            raise DataError(f"question {question.question_id} has no label, so it cannot be scored")
        prediction = predictions.get(question.question_id)
        overall[question.question_id] = score = (
            0.0 if prediction is None else question.label.get(prediction, 0.0)
        )
        if question.answer_type is not None:
            by_answer_type.setdefault(question.answer_type, []).append(score)
        if question.question_type is not None:
            by_question_type.setdefault(question.question_type, []).append(score)
    if not overall:
        raise DataError("there is no question to score")
    return LabelledScores(
        overall=mean_percent(list(overall.values())),
        per_answer_type={kind: mean_percent(values) for kind, values in by_answer_type.items()},
        per_question_type={kind: mean_percent(values) for kind, values in by_question_type.items()},
        per_question={identifier: 100 * score for identifier, score in overall.items()},
        questions=len(overall),
        questions_per_type={kind: len(values) for kind, values in by_question_type.items()},
        questions_per_answer_type={kind: len(values) for kind, values in by_answer_type.items()},
    )

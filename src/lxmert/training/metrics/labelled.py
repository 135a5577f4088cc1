"""Scoring questions by their soft labels: own ones, and the authors' files as their code scores them.

A prediction scores what the label says of it, spelled alike, and 0 if the label does not have it. Where
labels were made of the official annotations this differs from the official accuracy by little.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lxmert.data.labels import LabelledQuestion
from lxmert.errors import DataError
from lxmert.training.metrics.sums import mean_percent


@dataclass(frozen=True)
class LabelledScores:
    """Mean scores in percent.

    Attributes:
        overall: Over all questions.
        per_answer_type: Per answer type, where the file tells it.
        per_question_type: Per question type, where the file tells it.
        questions: How many questions were scored.
        questions_per_type: How many of each question type.
        questions_per_answer_type: How many of each answer type.
        per_question: Each question's score by question id.
    """

    overall: float
    per_answer_type: dict[str, float]
    per_question_type: dict[str, float]
    questions: int
    questions_per_type: dict[str, int] = field(repr=False)
    questions_per_answer_type: dict[str, int] = field(repr=False)
    per_question: dict[Any, float] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single questions, for JSON, under the names that official figures have."""
        return {
            "overall": self.overall,
            "perAnswerType": self.per_answer_type,
            "perQuestionType": self.per_question_type,
            "questions": self.questions,
            "questionsPerType": self.questions_per_type,
            "questionsPerAnswerType": self.questions_per_answer_type,
        }


def labelled_scores(predictions: Mapping[Any, str], questions: Iterable[LabelledQuestion]) -> LabelledScores:
    """The mean score of questions, over all and by type; one without a prediction scores 0.

    Raises:
        DataError: A question has no label, or there is none.
    """
    overall: dict[Any, float] = {}
    by_answer_type: dict[str, list[float]] = {}
    by_question_type: dict[str, list[float]] = {}
    for question in questions:
        if question.label is None:
            raise DataError(f"question {question.question_id} has no label, so it cannot be scored")
        said = predictions.get(question.question_id)
        overall[question.question_id] = score = 0.0 if said is None else question.label.get(said, 0.0)
        if question.answer_type is not None:
            by_answer_type.setdefault(question.answer_type, []).append(score)
        if question.question_type is not None:
            by_question_type.setdefault(question.question_type, []).append(score)
    if not overall:
        raise DataError("there is no question to score")
    return LabelledScores(
        mean_percent(list(overall.values())),
        {kind: mean_percent(values) for kind, values in by_answer_type.items()},
        {kind: mean_percent(values) for kind, values in by_question_type.items()},
        len(overall),
        {kind: len(values) for kind, values in by_question_type.items()},
        {kind: len(values) for kind, values in by_answer_type.items()},
        {identifier: 100 * score for identifier, score in overall.items()},
    )

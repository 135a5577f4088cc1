"""Scoring questions by their soft labels, as the authors' code does on the files that they re-distribute.

A prediction scores what the label says of it, spelled alike, and 0 if the label does not have it. Where
labels were made of the official annotations this differs from the official accuracy by little.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lxmert.data.lxmert_json import LabelledQuestion
from lxmert.data.task_split import SplitExamples
from lxmert.errors import DataError
from lxmert.training.metrics.sums import mean_percent
from lxmert.training.tasks import Scored


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
    """

    overall: float
    per_answer_type: dict[str, float]
    per_question_type: dict[str, float]
    questions: int
    questions_per_type: dict[str, int] = field(repr=False)
    questions_per_answer_type: dict[str, int] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Every figure, for JSON."""
        return asdict(self)


def score_labelled(examples: SplitExamples, predictions: Mapping[Any, str]) -> Scored:
    """The mean score, over all and by type.

    Raises:
        DataError: A question has no label.
    """
    overall: list[float] = []
    by_answer_type: dict[str, list[float]] = {}
    by_question_type: dict[str, list[float]] = {}
    for example in examples.examples:
        question: LabelledQuestion = example.source
        if question.label is None:
            raise DataError(f"question {question.question_id} has no label, so it cannot be scored")
        score = question.label.get(predictions[question.question_id], 0.0)
        overall.append(score)
        if question.answer_type is not None:
            by_answer_type.setdefault(question.answer_type, []).append(score)
        if question.question_type is not None:
            by_question_type.setdefault(question.question_type, []).append(score)
    scores = LabelledScores(
        mean_percent(overall),
        {kind: mean_percent(values) for kind, values in by_answer_type.items()},
        {kind: mean_percent(values) for kind, values in by_question_type.items()},
        len(overall),
        {kind: len(values) for kind, values in by_question_type.items()},
        {kind: len(values) for kind, values in by_answer_type.items()},
    )
    return Scored(scores.overall, scores.per_answer_type, scores)

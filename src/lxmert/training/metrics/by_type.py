"""Scores of questions, over all and by the types in a file."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ScoresByType:
    """Mean scores in percent.

    Attributes:
        overall: Over all questions.
        per_answer_type: Per answer type, in order of first appearance.
        per_question_type: Per question type (family), in order of first appearance.
        per_question: Each question's score by question id.
        questions: Number of questions scored.
        questions_per_type: Number of each question type.
        questions_per_answer_type: Number of each answer type.
    """

    overall: float
    per_answer_type: dict[str, float]
    per_question_type: dict[str, float]
    per_question: dict[Any, float] = field(repr=False)
    questions: int
    questions_per_type: dict[str, int] = field(repr=False)
    questions_per_answer_type: dict[str, int] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All figures except those of single questions, for JSON, under the names of VQA's evaluator."""
        return {
            "overall": self.overall,
            "perAnswerType": self.per_answer_type,
            "perQuestionType": self.per_question_type,
            "questions": self.questions,
            "questionsPerType": self.questions_per_type,
            "questionsPerAnswerType": self.questions_per_answer_type,
        }

"""Scoring of a split of questions with scored answers, for any task."""

from collections.abc import Mapping
from typing import Any

from lxmert.data.task_split import SplitExamples
from lxmert.training.metrics.labelled import labelled_scores
from lxmert.training.tasks import TaskScore


def score_labelled(examples: SplitExamples, predictions: Mapping[Any, str]) -> TaskScore:
    """The mean score of a split, over all and by type.

    Raises:
        DataError: A question has no label.
    """
    scores = labelled_scores(predictions, (example.source for example in examples.examples))
    return TaskScore(scores.overall, scores.per_answer_type, scores)

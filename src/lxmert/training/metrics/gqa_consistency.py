"""GQA's consistency: whether questions entailed by a correctly answered one are answered correctly too.

Source: the GQA evaluator `eval.py`. It is the mean, over all correctly answered questions that entail others,
of the accuracy on those (without the question itself; an id listed twice counts twice).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from lxmert.data.gqa import GqaExample
from lxmert.data.progress import StartProgress, iterate_with_progress, no_progress
from lxmert.errors import DataError
from lxmert.training.metrics.sums import mean_percent

ConsistencyRule = Literal["auto", "require", "known", "off"]
"""How to treat entailed questions that are not in the file or have no prediction.

require: an error, as in the official evaluator. auto: no figure. known: they are ignored. off: never a
figure.
"""


def consistency(
    predictions: Mapping[str, str],
    scored: Sequence[GqaExample],
    by_id: Mapping[str, GqaExample],
    rule: ConsistencyRule,
    *,
    allow_missing: bool,
    progress: StartProgress = no_progress,
) -> tuple[float | None, str | None]:
    """The figure in percent, or why there is none; 0 if no correctly answered question entails another.

    Args:
        predictions: Answers by question id.
        scored: The questions to score.
        by_id: All questions of the file.
        rule: What to do if entailed questions are unknown.
        allow_missing: True counts questions without a prediction as wrong.
        progress: Shows the progress.

    Raises:
        DataError: Consistency is required and undetermined.
    """
    if rule == "off":
        return None, "not requested"
    if rule != "known":
        reason = _unknown_entailed(predictions, scored, by_id, allow_missing, progress)
        if reason and rule == "require":
            raise DataError(
                f"no consistency: {reason}; provide all questions of the split and predictions for them, "
                'or choose "known" to ignore those that are unknown'
            )
        if reason:
            return None, reason
    accuracies = []
    for question in iterate_with_progress(scored, "Scoring consistency", progress):
        if predictions.get(question.question_id) != question.answer:
            continue
        entailed = [
            by_id[entailed_id]
            for entailed_id in question.entailed
            if entailed_id != question.question_id and entailed_id in by_id
        ]
        if rule == "known":
            entailed = [
                other for other in entailed if other.question_id in predictions and other.answer is not None
            ]
        if entailed:
            correct = sum(predictions.get(other.question_id) == other.answer for other in entailed)
            accuracies.append(correct / len(entailed))
    return mean_percent(accuracies), None


def _unknown_entailed(
    predictions: Mapping[str, str],
    scored: Sequence[GqaExample],
    by_id: Mapping[str, GqaExample],
    allow_missing: bool,
    progress: StartProgress,
) -> str | None:
    """Why the official consistency, which needs a prediction for every question, is undetermined, if so."""
    # The full validation split has two million questions.
    required = () if allow_missing else iterate_with_progress(list(by_id), "Comparing ids", progress)
    unpredicted = [question_id for question_id in required if question_id not in predictions]
    if unpredicted:
        return f"{len(unpredicted):,} questions have no prediction, starting with {unpredicted[0]}"
    entailed_ids = dict.fromkeys(entailed_id for question in scored for entailed_id in question.entailed)
    absent = [
        entailed_id
        for entailed_id in entailed_ids
        if entailed_id not in by_id or by_id[entailed_id].answer is None
    ]
    if absent:
        return f"{len(absent):,} entailed questions are not in the file, starting with {absent[0]}"
    return None

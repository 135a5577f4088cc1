"""The official NLVR2 figures: accuracy, and consistency over the pairs of one sentence.

Source: lil-lab/nlvr `nlvr2/eval/metrics.py`, whose numbers are reproduced bit for bit, with one difference:
if predictions are missing, that script prints their names and ends with status 0 and no score; here it is an
error with their number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lxmert.data.nlvr2 import Nlvr2Example
from lxmert.errors import DataError

_TOKENS = {"true": True, "false": False}


@dataclass(frozen=True)
class Nlvr2Scores:
    """The official figures, fractions 0..1 as the official script prints them.

    Attributes:
        accuracy: Fraction of correct predictions.
        consistency: Fraction of groups with all predictions correct. A group is one sentence with all its
            pairs of images.
        examples: Number of examples scored.
        groups: Number of groups.
        predicted_true: Fraction of the examples predicted True; 0 or 1 means that the model has collapsed.
        always_true: Accuracy of a constant True, the baseline for `accuracy`.
        unclear: Predictions that are neither true nor false; they count as wrong.
        missing: Examples without a prediction; they count as wrong. 0 unless they were allowed.
    """

    accuracy: float
    consistency: float
    examples: int
    groups: int
    predicted_true: float
    always_true: float
    unclear: int = 0
    missing: int = 0

    @property
    def accuracy_percent(self) -> float:
        """Accuracy in percent, unrounded."""
        return 100 * self.accuracy

    @property
    def consistency_percent(self) -> float:
        """Consistency in percent, unrounded."""
        return 100 * self.consistency

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON; the fractions under their official names, and percentages."""
        return {
            "accuracy": self.accuracy,
            "consistency": self.consistency,
            "accuracyPercent": self.accuracy_percent,
            "consistencyPercent": self.consistency_percent,
            "examples": self.examples,
            "groups": self.groups,
            "predictedTrue": self.predicted_true,
            "alwaysTrue": self.always_true,
            "unclear": self.unclear,
            "missing": self.missing,
        }


def truth_value(prediction: bool | str) -> bool | None:
    """The truth value of a prediction; None if it is neither true nor false.

    Case is ignored. White space is not: the official script strips lines, not fields.
    """
    return prediction if isinstance(prediction, bool) else _TOKENS.get(prediction.lower())


def nlvr2_scores(
    predictions: Mapping[str, bool | str],
    examples: Iterable[Nlvr2Example],
    *,
    allow_missing: bool = False,
) -> Nlvr2Scores:
    """Score predictions against labelled examples.

    Args:
        predictions: A bool, or a word as in a prediction file, by identifier. Unknown identifiers are
            ignored, as by the official script.
        examples: Labelled examples.
        allow_missing: True counts examples without a prediction as wrong instead of refusing.

    Raises:
        DataError: There is no example, one lacks a label or prediction, or a prediction has a wrong type.
    """
    examples = list(examples)
    missing = _count_missing(predictions, examples, allow_missing)
    correct = unclear = predicted_true = 0
    consistent: dict[str, bool] = {}
    for example in examples:
        prediction = predictions.get(example.identifier)
        truth = None if prediction is None else truth_value(prediction)
        unclear += truth is None and prediction is not None
        predicted_true += truth is True
        correct += truth is example.label
        consistent[example.group] = consistent.get(example.group, True) and truth is example.label
    return Nlvr2Scores(
        accuracy=correct / len(examples),
        consistency=sum(consistent.values()) / len(consistent),
        examples=len(examples),
        groups=len(consistent),
        predicted_true=predicted_true / len(examples),
        always_true=sum(example.label is True for example in examples) / len(examples),
        unclear=unclear,
        missing=missing,
    )


def _count_missing(
    predictions: Mapping[str, bool | str], examples: list[Nlvr2Example], allow_missing: bool
) -> int:
    """Return the number of missing predictions; raise for what cannot be scored."""
    if not examples:
        raise DataError("there is no example to score")
    unlabelled = next((example for example in examples if example.label is None), None)
    if unlabelled is not None:
        raise DataError(f"example {unlabelled.identifier} has no label, so it cannot be scored")
    missing = [example.identifier for example in examples if example.identifier not in predictions]
    if missing and not allow_missing:
        raise DataError(
            f"{len(missing):,} of {len(examples):,} examples have no prediction, starting with "
            f"{missing[0]}; predict every example, or allow missing predictions, which count as wrong"
        )
    for example in examples:
        prediction = predictions.get(example.identifier, False)
        if not isinstance(prediction, bool | str):
            raise DataError(
                f"the prediction for {example.identifier} is {prediction!r}; "
                "expected a bool, or the word True or False"
            )
    return len(missing)

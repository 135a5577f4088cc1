"""Reading a Trainer's log, which checkpoints include: the metrics of each validation, by epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

LOG_PREFIX = "eval_"
"""Prefix of the names of validation metrics in the Trainer's log."""

ACCURACY = "accuracy"
"""Name of the overall accuracy among the metrics of a validation."""

FAMILY_PREFIX = "accuracy/"
"""Prefix of the accuracies of question families."""

# Prefixes of training metrics in the log.
_TRAINING = ("loss", "accuracy")


def validation_metrics(entry: Mapping[str, float]) -> dict[str, float]:
    """The validation metrics in an entry of the log; empty if there are none."""
    return {
        name.removeprefix(LOG_PREFIX): value for name, value in entry.items() if name.startswith(LOG_PREFIX)
    }


def epochs_from_log(log: Iterable[Mapping[str, float]], score: str) -> list[dict[str, Any]]:
    """For each validation with this score: "epoch", "step", "validation", "train".

    "train" has the means of the training metrics since the previous validation, each over the steps for which
    it was logged.
    """
    epochs: list[dict[str, Any]] = []
    sums: dict[str, float] = {}
    steps: dict[str, float] = {}
    logged_step = 0.0
    for entry in log:
        if "loss" in entry:
            # An entry has the means over the steps since the previous one.
            covered, logged_step = entry["step"] - logged_step, entry["step"]
            for name, value in entry.items():
                if name.startswith(_TRAINING):
                    sums[name] = sums.get(name, 0.0) + covered * value
                    steps[name] = steps.get(name, 0.0) + covered
        validation = validation_metrics(entry)
        if score in validation:
            train = {name: total / steps[name] for name, total in sums.items()}
            epochs.append(
                {"epoch": entry["epoch"], "step": entry["step"], "train": train, "validation": validation}
            )
            sums, steps = {}, {}
    return epochs


def accuracy_per_family(metrics: Mapping[str, float]) -> dict[str, float]:
    """The accuracies of question families among the metrics of a validation."""
    return {
        name.removeprefix(FAMILY_PREFIX): value
        for name, value in metrics.items()
        if name.startswith(FAMILY_PREFIX)
    }

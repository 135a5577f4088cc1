"""Reading a Trainer's log, which checkpoints carry along: the figures of each validation, by epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

LOG_PREFIX = "eval_"
"""What the Trainer's log has before the name of every validation figure."""

ACCURACY = "accuracy"
"""The name of the overall accuracy among the figures of a validation."""

FAMILY_PREFIX = "accuracy/"
"""What these have before the name of a question family."""

# What the log calls the figures of training since it was last written.
_TRAINING = ("loss", "accuracy")


def validation_figures(entry: Mapping[str, float]) -> dict[str, float]:
    """The figures of a validation in an entry of the log; empty where it is none."""
    return {
        name.removeprefix(LOG_PREFIX): value for name, value in entry.items() if name.startswith(LOG_PREFIX)
    }


def epochs_of(log: Iterable[Mapping[str, float]], score: str) -> list[dict[str, Any]]:
    """For each validation with this score: "epoch", "step", "validation", "train".

    "train" has the means of the training figures since the validation before, each over the steps for which
    it was logged.
    """
    epochs: list[dict[str, Any]] = []
    sums: dict[str, float] = {}
    steps: dict[str, float] = {}
    logged_step = 0.0
    for entry in log:
        if "loss" in entry:
            # An entry has the means over the steps since the one before.
            covered, logged_step = entry["step"] - logged_step, entry["step"]
            for name, value in entry.items():
                if name.startswith(_TRAINING):
                    sums[name] = sums.get(name, 0.0) + covered * value
                    steps[name] = steps.get(name, 0.0) + covered
        validation = validation_figures(entry)
        if score in validation:
            train = {name: total / steps[name] for name, total in sums.items()}
            epochs.append(
                {"epoch": entry["epoch"], "step": entry["step"], "train": train, "validation": validation}
            )
            sums, steps = {}, {}
    return epochs


def accuracy_per_family(figures: Mapping[str, float]) -> dict[str, float]:
    """The accuracies of question families among the figures of a validation."""
    return {
        name.removeprefix(FAMILY_PREFIX): value
        for name, value in figures.items()
        if name.startswith(FAMILY_PREFIX)
    }

"""Reading a Trainer's log, which checkpoints carry along: the figures of each validation, by epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

from lxmert.training.arguments import LOG_PREFIX

# What the log calls the figures of training since it was last written.
_TRAINING = ("loss", "accuracy")


def validation_figures(entry: Mapping[str, float]) -> dict[str, float]:
    """The figures of a validation in an entry of the log; empty where it is none."""
    return {
        name.removeprefix(LOG_PREFIX): value for name, value in entry.items() if name.startswith(LOG_PREFIX)
    }


def epochs_of(log: Iterable[Mapping[str, float]], score: str) -> list[dict[str, Any]]:
    """For each validation with this score: "epoch", "step", "validation", and the last "train" before it."""
    epochs: list[dict[str, Any]] = []
    train: dict[str, float] = {}
    for entry in log:
        if "loss" in entry:
            train = {name: value for name, value in entry.items() if name.startswith(_TRAINING)}
        validation = validation_figures(entry)
        if score in validation:
            epochs.append(
                {"epoch": entry["epoch"], "step": entry["step"], "train": train, "validation": validation}
            )
    return epochs

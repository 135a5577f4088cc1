"""The figures of a pre-training run, from the trainer's log, for metrics.json and for the display."""

from collections.abc import Mapping
from typing import Any

from lxmert.training.log_history import epochs_from_log, validation_metrics
from lxmert.training.pretraining.constant_baseline import ConstantBaseline
from lxmert.training.pretraining.target_counts import TASKS

SELECTION_METRIC = "loss"
"""The validation figure that selects the best weights: the weighted sum of all losses; lower is better."""

_ACCURACY = "accuracy_"


def collect_metrics(
    state: Any, metadata: Mapping[str, Any], baselines: Mapping[str, ConstantBaseline]
) -> dict[str, Any]:
    """The metrics of a run from the trainer's log, which checkpoints include.

    Args:
        state: the Trainer's state.
        metadata: figures about data and model.
        baselines: by task, the figures of the best constant predictor on the validation examples.

    Returns:
        "data"; "constant_predictor"; "epochs", one entry for each validation; "validation", the figures of
        the kept weights: "loss", "tasks" with those of the constant predictor, "accuracies" by
        name of `evaluation.ACCURACIES`, and the same by "sources".
    """
    epochs = epochs_from_log(state.log_history, SELECTION_METRIC)
    best = None
    if epochs:
        at_best = [epoch for epoch in epochs if epoch["validation"][SELECTION_METRIC] == state.best_metric]
        best = _add_baselines((at_best or epochs)[0 if at_best else -1]["validation"], baselines)
    return {
        "data": dict(metadata),
        "constant_predictor": {
            task: {"loss": constant.loss, "accuracy": constant.accuracy}
            for task, constant in baselines.items()
        },
        "validation": best,
        "epochs": epochs,
    }


def format_validation(metrics: Mapping[str, float], baselines: Mapping[str, ConstantBaseline]) -> str | None:
    """Format a validation for the display: by task, loss (the constant predictor's) and accuracy."""
    values = validation_metrics(metrics)
    if SELECTION_METRIC not in values:
        return None
    parts = [f"validation loss [bold]{values[SELECTION_METRIC]:.4f}[/bold]"]
    for task in TASKS:
        if f"loss_{task}" not in values:
            continue
        part = f"{task} {values[f'loss_{task}']:.3f}"
        if task in baselines:
            part += f" ({baselines[task].loss:.3f})"
        if f"accuracy_{task}" in values:
            part += f" {values[f'accuracy_{task}']:.1f} %"
        parts.append(part)
    return "  ".join(parts)


def _add_baselines(values: Mapping[str, float], baselines: Mapping[str, ConstantBaseline]) -> dict[str, Any]:
    """The figures, with each task's loss and accuracy next to those of the constant predictor."""
    tasks: dict[str, dict[str, float]] = {}
    for task in TASKS:
        if f"loss_{task}" not in values:
            continue
        tasks[task] = {
            "loss": values[f"loss_{task}"],
            "weighted_loss": values[f"weighted_loss_{task}"],
        }
        if f"accuracy_{task}" in values:
            tasks[task]["accuracy"] = values[f"accuracy_{task}"]
        constant = baselines.get(task)
        if constant is not None:
            tasks[task]["constant_loss"] = constant.loss
            if constant.accuracy is not None:
                tasks[task]["constant_accuracy"] = constant.accuracy
    accuracies: dict[str, float] = {}
    sources: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        if name.startswith(_ACCURACY):
            figure, _, source = name.removeprefix(_ACCURACY).partition("/")
            (sources.setdefault(source, {}) if source else accuracies)[figure] = value
    return {"loss": values[SELECTION_METRIC], "tasks": tasks, "accuracies": accuracies, "sources": sources}

"""Pretraining metrics collected from a log: which validation is reported, and what the display shows."""

from types import SimpleNamespace
from typing import Any

import pytest

from lxmert.training.pretraining.constant_baseline import ConstantBaseline
from lxmert.training.pretraining.metrics import collect_metrics, format_validation

CONSTANTS = {"matched": ConstantBaseline(0.69, 51.0), "feature_regression": ConstantBaseline(0.4)}


def validation(epoch: float, loss: float) -> dict[str, float]:
    """An entry of the log: two tasks with a constant predictor, one without."""
    tasks = {"matched": loss / 2, "feature_regression": loss / 4, "masked_words": loss / 8}
    figures = {"loss": loss, "accuracy_matched": 60.0, "accuracy_matched/vqa": 70.0, "runtime": 9.0}
    for task, value in tasks.items():
        figures |= {f"loss_{task}": value, f"weighted_loss_{task}": 3 * value}
    return {"epoch": epoch, "step": 10 * epoch} | {f"eval_{name}": value for name, value in figures.items()}


def state(*losses: float, best: float | None) -> Any:
    log = [validation(epoch, loss) for epoch, loss in enumerate(losses, start=1)]
    return SimpleNamespace(log_history=log, best_metric=best)


def test_metrics_of_kept_weights_include_constant_predictor_baselines() -> None:
    figures = collect_metrics(state(4.0, 2.0, 3.0, best=2.0), {"pairs": 5}, CONSTANTS)
    assert figures["data"] == {"pairs": 5}
    assert figures["constant_predictor"] == {
        "matched": {"loss": 0.69, "accuracy": 51.0},
        "feature_regression": {"loss": 0.4, "accuracy": None},
    }
    assert [epoch["validation"]["loss"] for epoch in figures["epochs"]] == [4.0, 2.0, 3.0]
    assert figures["validation"] == {
        "loss": 2.0,
        "tasks": {
            "masked_words": {"loss": 0.25, "weighted_loss": 0.75},
            "matched": {
                "loss": 1.0,
                "weighted_loss": 3.0,
                "accuracy": 60.0,
                "constant_loss": 0.69,
                "constant_accuracy": 51.0,
            },
            "feature_regression": {"loss": 0.5, "weighted_loss": 1.5, "constant_loss": 0.4},
        },
        "accuracies": {"matched": 60.0},
        "sources": {"vqa": {"matched": 70.0}},
    }


@pytest.mark.parametrize(("best", "loss"), [(None, 3.0), (4.0, 4.0)])
def test_reported_validation_is_that_of_best_metric_or_else_the_last(best: float | None, loss: float) -> None:
    assert collect_metrics(state(4.0, 2.0, 3.0, best=best), {}, {})["validation"]["loss"] == loss


def test_first_of_equally_good_validations_is_reported() -> None:
    run = state(2.0, 3.0, 2.0, best=2.0)
    run.log_history[-1]["eval_accuracy_matched"] = 99.0
    assert collect_metrics(run, {}, {})["validation"]["accuracies"] == {"matched": 60.0}


def test_run_without_validation_has_no_validation_metrics() -> None:
    figures = collect_metrics(state(best=None), {}, CONSTANTS)
    assert figures["validation"] is None
    assert figures["epochs"] == []


def test_display_shows_each_task_beside_constant_predictor() -> None:
    assert format_validation(validation(1, 2.0), CONSTANTS) == (
        "validation loss [bold]2.0000[/bold]  masked_words 0.250  matched 1.000 (0.690) 60.0 %  "
        "feature_regression 0.500 (0.400)"
    )
    assert format_validation({"loss": 2.0, "learning_rate": 0.1}, CONSTANTS) is None

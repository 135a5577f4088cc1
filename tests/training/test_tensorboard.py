"""Values that a run logs to TensorBoard where it is installed, recorded by a stand-in."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lxmert.training import arguments
from lxmert.training.finetuning import finetune
from lxmert.training.recipe import FinetuneRecipe


class RecordingSummaryWriter:
    """Stands in for TensorBoard's `SummaryWriter`, and records the scalars."""

    scalars: dict[str, list[float]] = {}  # noqa: RUF012
    folders: list[str] = []  # noqa: RUF012

    def __init__(self, log_dir: str) -> None:
        self.folders.append(log_dir)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.setdefault(name, []).append(value)

    def add_text(self, *_: object, **__: object) -> None: ...
    def add_hparams(self, *_: object, **__: object) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def test_losses_and_validation_metrics_are_logged_to_tensorboard(
    tiny_recipe: Callable[..., FinetuneRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = RecordingSummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(arguments, "is_tensorboard_available", lambda: True)
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: True)
    metrics = finetune(tiny_recipe(data={"test_split": None}), tmp_path / "run").metrics
    [folder] = RecordingSummaryWriter.folders
    assert Path(folder).is_relative_to(tmp_path / "run" / "checkpoints" / "runs")
    # Every second of 14 steps, and before the validation at the seventh.
    assert metrics["training"]["steps"] == 14
    assert len(RecordingSummaryWriter.scalars["train/loss"]) == 8
    assert RecordingSummaryWriter.scalars["eval/accuracy"] == [
        epoch["validation_accuracy"] for epoch in metrics["epochs"]
    ]

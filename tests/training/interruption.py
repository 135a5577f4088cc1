"""Interrupting a training run, and comparing the weights that it ends with."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from lxmert.training.base_trainer import BaseTrainer


class Interrupted(Exception):  # noqa: N818
    """Simulates a power cut."""


class _StopAt(TrainerCallback):
    """Interrupts the training before a step, leaving files as they are."""

    step = -1

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise Interrupted


def interrupting(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Interrupts the runs that follow before the step that the result is called with; -1 for none."""
    stop = _StopAt()
    original = BaseTrainer.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.add_callback(stop)

    monkeypatch.setattr(BaseTrainer, "__init__", init)
    return lambda step: setattr(stop, "step", step)


def write_checkpoint(folder: Path, rng_files: Iterable[str] = ("rng_state.pth",)) -> None:
    """Writes the files of a checkpoint, without content."""
    folder.mkdir(parents=True)
    save_file({}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", *rng_files):
        torch.save({}, folder / name)
    for name in ("config.json", "trainer_state.json"):
        (folder / name).write_text("{}")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name

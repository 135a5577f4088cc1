"""What each process of a run writes, and the figures of its speed."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerControl, TrainerState

from lxmert.training import running
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.recipe_sections import LoopSection
from lxmert.training.run_folder import RunFolder
from lxmert.training.running import SaveMetricsCallback, run_in_folder, save_weights, train_or_resume
from tests.training.interruption import write_checkpoint


class _Model:
    """A model of one matrix and one counter, which notes what is saved of it."""

    def __init__(self) -> None:
        self.saved: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"matrix": torch.ones(2, 3), "counter": torch.tensor([70_000])}

    def save_pretrained(self, folder: Path, state_dict: dict[str, torch.Tensor]) -> None:
        self.saved = state_dict
        save_file(state_dict, folder / "model.safetensors")


class _Trainer:
    """A trainer that is at its last step at once, and notes from which checkpoint it started."""

    def __init__(self, processes: int, last_step: int) -> None:
        self.args = SimpleNamespace(world_size=processes)
        self.callback_handler = SimpleNamespace(callbacks=[])
        self.state = TrainerState(global_step=last_step)
        self.started_from: list[str | None] = []

    def train(self, resume_from_checkpoint: str | None) -> None:
        self.started_from.append(resume_from_checkpoint)


def test_only_floating_point_weights_are_saved_in_half_precision(tmp_path: Path) -> None:
    model: Any = _Model()
    save_weights(model, tmp_path, "float16")
    assert model.saved["matrix"].dtype == torch.float16
    assert (model.saved["counter"].dtype, model.saved["counter"].item()) == (torch.int64, 70_000)


def test_other_users_may_read_saved_weights_as_far_as_the_umask_says(tmp_path: Path) -> None:
    model: Any = _Model()
    save_weights(model, tmp_path, "float32")
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_only_first_process_writes(
    tiny_recipe: Callable[..., FinetuneRecipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RANK", "1")
    folder, model = RunFolder(tmp_path / "out"), _Model()

    def train(display: ProgressDisplay) -> dict[str, Any]:
        save_weights(model, folder.path, "float32")  # type: ignore[arg-type]
        SaveMetricsCallback(folder, lambda state: {}).on_evaluate(
            None, SimpleNamespace(is_world_process_zero=False), None
        )
        display.print("note")
        return {"figure": 3}

    metrics = run_in_folder(tiny_recipe(), folder, train, resume=False, progress=True)
    assert not any(capfd.readouterr())
    assert metrics == {"figure": 3, "finished": True}
    assert not model.saved
    assert not folder.path.exists()


def test_resuming_a_folder_without_a_run_starts_one_and_says_so(
    tiny_recipe: Callable[..., FinetuneRecipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "out[b]")

    def train(display: ProgressDisplay) -> dict[str, Any]:
        (folder.checkpoints / "checkpoint-4").mkdir(exist_ok=True)
        raise KeyboardInterrupt

    for expected in (True, False):
        with pytest.raises(KeyboardInterrupt):
            run_in_folder(tiny_recipe(), folder, train, resume=True, progress=True)
        message = "".join(capsys.readouterr().err.split())  # wrapped somewhere
        assert ("out[b]hasnoruntoresume;startinganewone" in message) is expected


def test_checkpoint_of_last_step_of_epoch_is_saved_once_after_its_validation(tmp_path: Path) -> None:
    callback = SaveMetricsCallback(RunFolder(tmp_path), lambda state: {})
    arguments = SimpleNamespace(eval_strategy="epoch")
    saved_at_end = []
    for epoch in (1.0, 2.0):
        # As with a checkpoint every so many steps, which is due in the first epoch only.
        control = TrainerControl(should_save=epoch == 1.0)
        state = SimpleNamespace(epoch=epoch, global_step=7 * epoch, max_steps=21)
        callback.on_step_end(arguments, state, control)
        assert not control.should_save
        callback.on_epoch_end(arguments, state, control)
        saved_at_end.append(control.should_save)
        assert control.should_log == control.should_save
    assert saved_at_end == [True, False]


def test_speed_counts_examples_of_all_updates_since_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=iter([100.0, 102.0]).__next__))
    folder = RunFolder(tmp_path)
    checkpoint = folder.checkpoints / "checkpoint-4"
    write_checkpoint(checkpoint)
    TrainerState(global_step=4, max_steps=10).save_to_json(str(checkpoint / "trainer_state.json"))
    trainer = _Trainer(processes=2, last_step=10)
    optimisation = LoopSection.model_construct(batch_size=5, accumulation_steps=3)
    metadata = train_or_resume(trainer, folder, optimisation, "questions", {})  # type: ignore[arg-type]
    assert trainer.started_from == [str(checkpoint)]
    assert (metadata["steps"], metadata["resumed_at_step"], metadata["processes"]) == (10, 4, 2)
    # Six updates of two processes with three batches of five each, in two seconds.
    assert (metadata["seconds"], metadata["questions_per_second"]) == (2.0, 90.0)
    assert json.loads((folder.checkpoints / "processes.json").read_text()) == {"processes": 1}


def test_new_run_starts_without_checkpoint_or_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, trainer = RunFolder(tmp_path), _Trainer(processes=1, last_step=2)
    folder.checkpoints.mkdir()
    optimisation = LoopSection.model_construct(batch_size=5)
    metadata = train_or_resume(trainer, folder, optimisation, "questions", {})  # type: ignore[arg-type]
    assert (trainer.started_from, metadata["resumed_at_step"]) == ([None], None)
    assert not caplog.text

"""Run folders: who may open them, from which checkpoint a run resumes, and which are deleted."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lxmert.errors import ConfigurationError, TrainingError
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder, delete_old_checkpoints, translate_write_errors
from lxmert.training.running import run_in_folder
from tests.training.interruption import write_checkpoint


@pytest.fixture
def recipe() -> FinetuneRecipe:
    return FinetuneRecipe.from_dict(
        {"task": "nlvr2", "model": {"from_pretrained": "first"}, "data": {"directory": "data"}}
    )


def open_run(run: RunFolder, recipe: FinetuneRecipe, *, resume: bool) -> None:
    with run.open(recipe, resume=resume):
        pass


def start_run(folder: Path, recipe: FinetuneRecipe, checkpoints: dict[int, list[str]]) -> RunFolder:
    """A run with complete checkpoints; `checkpoints` lists the names of their RNG files by step."""
    run = RunFolder(folder)
    open_run(run, recipe, resume=False)
    for step, names in checkpoints.items():
        write_checkpoint(run.checkpoints / f"checkpoint-{step}", names)
    return run


ONE_PROCESS, TWO_PROCESSES = ["rng_state.pth"], ["rng_state_0.pth", "rng_state_1.pth"]


@pytest.mark.parametrize(
    ("names", "process_count", "message"),
    [
        (ONE_PROCESS, 2, "contains a run of 1 process, so it cannot be resumed with 2; start 1 process"),
        (
            TWO_PROCESSES,
            1,
            "contains a run of 2 processes, so it cannot be resumed with 1; start 2 processes",
        ),
        (TWO_PROCESSES, 4, "contains a run of 2 processes, so it cannot be resumed with 4"),
    ],
)
def test_only_as_many_processes_resume_a_run(
    recipe: FinetuneRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    process_count: int,
    message: str,
) -> None:
    run = start_run(tmp_path, recipe, {5: names, 10: names})
    monkeypatch.setenv("WORLD_SIZE", str(len(names)))
    run.save_process_count()
    monkeypatch.setenv("WORLD_SIZE", str(process_count))
    with pytest.raises(ConfigurationError, match=message):
        open_run(run, recipe, resume=True)
    monkeypatch.setenv("WORLD_SIZE", str(len(names)))
    open_run(run, recipe, resume=True)
    newest = run.newest_checkpoint()
    assert newest is not None
    assert newest.name == "checkpoint-10"


def test_newest_checkpoint_without_rng_file_of_every_process_is_skipped(
    recipe: FinetuneRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(tmp_path, recipe, {5: TWO_PROCESSES, 10: TWO_PROCESSES[:1]})
    monkeypatch.setenv("WORLD_SIZE", "2")
    open_run(run, recipe, resume=True)
    assert run.newest_checkpoint() == run.checkpoints / "checkpoint-5"


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "zeros"])
@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "scaler.pt"],
)
def test_newest_checkpoint_with_damaged_file_is_skipped(
    recipe: FinetuneRecipe, tmp_path: Path, name: str, damage: str
) -> None:
    run = start_run(tmp_path, recipe, {5: ONE_PROCESS, 10: [*ONE_PROCESS, "scaler.pt"]})
    assert run.newest_checkpoint() == run.checkpoints / "checkpoint-10"
    path = run.checkpoints / "checkpoint-10" / name
    content = path.read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "zeros": bytes(len(content))}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    # Runs in float32 have no scaler.
    left = "checkpoint-10" if (name, damage) == ("scaler.pt", "missing") else "checkpoint-5"
    assert run.newest_checkpoint() == run.checkpoints / left


DAMAGED_CONTENTS = ["", '{"finis', "[3]", "\0\0\0"]


@pytest.mark.parametrize("content", DAMAGED_CONTENTS)
def test_damaged_metrics_are_replaced_if_there_is_a_checkpoint(
    recipe: FinetuneRecipe, tmp_path: Path, content: str
) -> None:
    run = start_run(tmp_path / "run", recipe, {5: ONE_PROCESS})
    run.metrics_path.write_text(content)
    metrics = run_in_folder(recipe, run, lambda display: {"figure": 3}, resume=True, progress=False)
    assert metrics == run.read_metrics() == {"figure": 3, "finished": True}
    # A finished model must not be lost to a new run.
    shutil.rmtree(run.checkpoints)
    run.metrics_path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"metrics\.json: .*; delete it to start over, or choose"):
        open_run(run, recipe, resume=True)


@pytest.mark.parametrize("content", DAMAGED_CONTENTS)
def test_damaged_process_count_or_fingerprints_are_named_with_a_remedy(
    recipe: FinetuneRecipe, tmp_path: Path, content: str
) -> None:
    run = start_run(tmp_path, recipe, {5: ONE_PROCESS})
    (run.checkpoints / "processes.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"processes\.json: .*; delete it and .* as many processes"):
        open_run(run, recipe, resume=True)
    (run.checkpoints / "processes.json").unlink()
    open_run(run, recipe, resume=True)
    (run.checkpoints / "data.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"data\.json: .*; delete it and .* data are still the same"):
        run.check_fingerprints({"answers": "ab"})
    (run.checkpoints / "data.json").unlink()
    run.check_fingerprints({"answers": "ab"})


def test_finished_run_opens_with_any_process_count(
    recipe: FinetuneRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(tmp_path, recipe, {5: ONE_PROCESS})
    run.save_process_count()
    run.write_metrics({"finished": True})
    monkeypatch.setenv("WORLD_SIZE", "2")
    open_run(run, recipe, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_run_without_checkpoint_can_restart_with_another_recipe(
    recipe: FinetuneRecipe, tmp_path: Path, resume: bool
) -> None:
    run = start_run(tmp_path, recipe, {})
    run.save_process_count()
    run.write_metrics({"epochs": []})
    values = recipe.model_dump(mode="json")
    other = FinetuneRecipe.from_dict(values | {"optimisation": values["optimisation"] | {"seed": 7}})
    open_run(run, other, resume=resume)
    assert FinetuneRecipe.from_yaml(run.recipe_path) == other
    run.metrics_path.write_text(json.dumps({"finished": True}))
    with pytest.raises(ConfigurationError, match="another recipe" if resume else "is not empty"):
        open_run(run, recipe, resume=resume)


def test_leftover_partial_recipe_file_does_not_block_folder(recipe: FinetuneRecipe, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "recipe.resolved.yaml.0123abcd.partial").write_text("task: nl")
    open_run(run, recipe, resume=False)
    assert FinetuneRecipe.from_yaml(run.recipe_path) == recipe
    # A file of a name that no interrupted start leaves belongs to the user.
    (tmp_path / "notes.0123abcd.partial").touch()
    with pytest.raises(ConfigurationError, match="is not empty"):
        open_run(run, recipe, resume=False)


@pytest.fixture
def is_synced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], bool]:
    """Tells whether a file or folder was forced to the disk."""
    numbers: set[int] = set()

    def fsync(descriptor: int) -> None:
        numbers.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    return lambda path: path.stat().st_ino in numbers


def test_older_checkpoints_are_deleted_only_after_newest_is_synced_to_disk(
    recipe: FinetuneRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_synced: Callable[[Path], bool],
) -> None:
    run = start_run(tmp_path, recipe, {5: ONE_PROCESS, 10: ONE_PROCESS, 15: ONE_PROCESS})
    newest = run.checkpoints / "checkpoint-15"
    deleted: list[str] = []

    def rmtree(folder: Path, *, ignore_errors: bool) -> None:
        assert all(is_synced(path) for path in (*newest.iterdir(), newest, run.checkpoints))
        deleted.append(folder.name)

    monkeypatch.setattr("lxmert.training.run_folder.rmtree", rmtree)
    delete_old_checkpoints(newest, 1, None)
    assert deleted == ["checkpoint-10", "checkpoint-5"]


@pytest.mark.parametrize(
    ("count", "best", "kept"),
    [
        (1, None, [20]),
        (2, None, [20, 15]),
        (2, 5, [20, 5]),
        (3, 5, [20, 15, 5]),
        (2, 20, [20, 15]),
        (9, 5, [20, 15, 10, 5]),
    ],
)
def test_delete_old_checkpoints_keeps_newest_by_step_and_best(
    recipe: FinetuneRecipe, tmp_path: Path, count: int, best: int | None, kept: list[int]
) -> None:
    run = start_run(tmp_path, recipe, dict.fromkeys((5, 10, 15, 20), ONE_PROCESS))
    # Modified in the future, by a clock that was wrong at the time.
    os.utime(run.checkpoints / "checkpoint-10", (2**32, 2**32))
    best_path = None if best is None else str(run.checkpoints / f"checkpoint-{best}")
    delete_old_checkpoints(run.checkpoints / "checkpoint-20", count, best_path)
    assert run.all_checkpoints() == [run.checkpoints / f"checkpoint-{step}" for step in kept]


def test_run_in_folder_syncs_model_file_to_disk(
    recipe: FinetuneRecipe, tmp_path: Path, is_synced: Callable[[Path], bool]
) -> None:
    run = RunFolder(tmp_path / "run")

    def work(display: object) -> dict[str, int]:
        (run.path / "model.safetensors").write_bytes(b"weights")
        return {}

    run_in_folder(recipe, run, work, resume=False, progress=False)
    assert is_synced(run.path / "model.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_folder_locked_by_another_process_is_rejected_and_unchanged(
    recipe: FinetuneRecipe, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from lxmert.training.recipe import FinetuneRecipe as R;"
        "from lxmert.training.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[2])).open(R.from_yaml(sys.argv[1]), resume=False):"
        " print('runs', flush=True); sys.stdin.read()"
    )
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    arguments = [sys.executable, "-c", code, str(tmp_path / "recipe.yaml"), str(run.path)]
    values = recipe.model_dump(mode="json")
    other = FinetuneRecipe.from_dict(values | {"optimisation": values["optimisation"] | {"seed": 7}})
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        for resume in (False, True):
            with pytest.raises(ConfigurationError, match="another process is running in"):
                open_run(run, other, resume=resume)
        assert FinetuneRecipe.from_yaml(run.recipe_path) == recipe
        process.kill()
    open_run(run, other, resume=False)
    assert FinetuneRecipe.from_yaml(run.recipe_path) == other


@pytest.mark.parametrize("path", ["", "none/file.pt"])
def test_failure_of_torch_writer_is_reported_as_failed_write(tmp_path: Path, path: str) -> None:
    """To a path that is a folder, and to one in a folder that does not exist."""
    with (
        pytest.raises(TrainingError, match=r"the checkpoint could not be written \(.*--resume"),
        translate_write_errors("the checkpoint"),
    ):
        torch.save({"a": torch.zeros(3)}, tmp_path / path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("size", [3, 3_000_000])
def test_full_disk_during_torch_save_is_reported_as_failed_write(size: int) -> None:
    with pytest.raises(TrainingError, match="could not be written"), translate_write_errors("the checkpoint"):
        torch.save({"a": torch.zeros(size)}, "/dev/full")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:30133"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_error_other_than_of_writing_passes_unchanged(error: RuntimeError) -> None:
    with pytest.raises(RuntimeError) as caught, translate_write_errors("the checkpoint"):
        raise error
    assert caught.value is error


def test_error_while_copying_a_tensor_for_torch_save_passes_unchanged(tmp_path: Path) -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered")

    class _LostTensor:
        def __reduce__(self) -> str:
            raise error

    with pytest.raises(RuntimeError) as caught, translate_write_errors("the checkpoint"):
        torch.save(_LostTensor(), tmp_path / "file.pt")
    assert caught.value is error

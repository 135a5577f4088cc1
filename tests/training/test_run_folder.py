"""Which checkpoint a run goes on from, and with how many processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lxmert.errors import ConfigurationError
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder, delete_old_checkpoints
from lxmert.training.running import run_in_folder


@pytest.fixture
def recipe() -> FinetuneRecipe:
    return FinetuneRecipe.from_dict(
        {"task": "nlvr2", "model": {"from_pretrained": "first"}, "data": {"directory": "data"}}
    )


def opened(run: RunFolder, recipe: FinetuneRecipe, *, resume: bool) -> None:
    with run.open(recipe, resume=resume):
        pass


def begun(folder: Path, recipe: FinetuneRecipe, checkpoints: dict[int, list[str]]) -> RunFolder:
    """A run with whole checkpoints: by step the names of their files of random numbers."""
    run = RunFolder(folder)
    opened(run, recipe, resume=False)
    for step, names in checkpoints.items():
        checkpoint = run.checkpoints / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("trainer_state.json", *names):
            (checkpoint / name).write_text("{}")
    return run


ONE, TWO = ["rng_state.pth"], ["rng_state_0.pth", "rng_state_1.pth"]


@pytest.mark.parametrize(
    ("names", "here", "told"),
    [
        (ONE, 2, "contains a run of 1 process, so it cannot be resumed with 2; start 1 process"),
        (TWO, 1, "contains a run of 2 processes, so it cannot be resumed with 1; start 2 processes"),
        (TWO, 4, "contains a run of 2 processes, so it cannot be resumed with 4"),
    ],
)
def test_files_of_random_numbers_tell_the_processes_of_a_run_without_a_note(
    recipe: FinetuneRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    here: int,
    told: str,
) -> None:
    run = begun(tmp_path, recipe, {5: names, 10: names})
    monkeypatch.setenv("WORLD_SIZE", str(here))
    with pytest.raises(ConfigurationError, match=told):
        opened(run, recipe, resume=True)
    monkeypatch.setenv("WORLD_SIZE", str(len(names)))
    opened(run, recipe, resume=True)
    newest = run.newest_checkpoint()
    assert newest is not None
    assert newest.name == "checkpoint-10"


def test_a_newest_checkpoint_that_one_process_did_not_finish_is_passed_over(
    recipe: FinetuneRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path, recipe, {5: TWO, 10: TWO[:1]})
    monkeypatch.setenv("WORLD_SIZE", "2")
    opened(run, recipe, resume=True)
    assert run.newest_checkpoint() == run.checkpoints / "checkpoint-5"


def test_the_note_tells_more_than_files(
    recipe: FinetuneRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path, recipe, {5: TWO})
    monkeypatch.setenv("WORLD_SIZE", "3")
    run.save_process_count()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigurationError, match="a run of 3 processes, so it cannot be resumed with 2"):
        opened(run, recipe, resume=True)


def test_a_finished_run_is_returned_to_any_number_of_processes(
    recipe: FinetuneRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path, recipe, {5: ONE})
    run.write_metrics({"finished": True})
    monkeypatch.setenv("WORLD_SIZE", "2")
    opened(run, recipe, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_without_a_checkpoint_has_not_begun(
    recipe: FinetuneRecipe, tmp_path: Path, resume: bool
) -> None:
    run = begun(tmp_path, recipe, {})
    run.save_process_count()
    run.write_metrics({"epochs": []})
    values = recipe.model_dump(mode="json")
    other = FinetuneRecipe.from_dict(values | {"optimisation": values["optimisation"] | {"seed": 7}})
    opened(run, other, resume=resume)
    assert FinetuneRecipe.from_yaml(run.recipe_path) == other
    run.metrics_path.write_text(json.dumps({"finished": True}))
    with pytest.raises(ConfigurationError, match="another recipe" if resume else "is not empty"):
        opened(run, recipe, resume=resume)


def test_half_a_file_of_a_killed_start_leaves_the_folder_free(recipe: FinetuneRecipe, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "recipe.resolved.yaml.0123abcd.partial").write_text("task: nl")
    opened(run, recipe, resume=False)
    assert FinetuneRecipe.from_yaml(run.recipe_path) == recipe
    # A name that no start leaves is somebody's.
    (tmp_path / "notes.0123abcd.partial").touch()
    with pytest.raises(ConfigurationError, match="is not empty"):
        opened(run, recipe, resume=False)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], bool]:
    """Tells whether a file or folder was forced to the disk."""
    numbers: set[int] = set()

    def fsync(descriptor: int) -> None:
        numbers.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    return lambda path: path.stat().st_ino in numbers


def test_older_checkpoints_go_when_the_new_one_is_on_the_disk(
    recipe: FinetuneRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    synced: Callable[[Path], bool],
) -> None:
    run = begun(tmp_path, recipe, {5: ONE, 10: ONE, 15: ONE})
    newest = run.checkpoints / "checkpoint-15"
    deleted: list[str] = []

    def rmtree(folder: Path, *, ignore_errors: bool) -> None:
        assert all(synced(path) for path in (*newest.iterdir(), newest, run.checkpoints))
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
def test_the_newest_checkpoints_by_their_steps_and_the_best_are_kept(
    recipe: FinetuneRecipe, tmp_path: Path, count: int, best: int | None, kept: list[int]
) -> None:
    run = begun(tmp_path, recipe, dict.fromkeys((5, 10, 15, 20), ONE))
    # By a clock that was wrong before the machine started anew.
    os.utime(run.checkpoints / "checkpoint-10", (2**32, 2**32))
    best_path = None if best is None else str(run.checkpoints / f"checkpoint-{best}")
    delete_old_checkpoints(run.checkpoints / "checkpoint-20", count, best_path)
    assert run.all_checkpoints() == [run.checkpoints / f"checkpoint-{step}" for step in kept]


def test_a_run_is_finished_when_its_files_are_on_the_disk(
    recipe: FinetuneRecipe, tmp_path: Path, synced: Callable[[Path], bool]
) -> None:
    run = RunFolder(tmp_path / "run")

    def work(display: object) -> dict[str, int]:
        (run.path / "model.safetensors").write_bytes(b"weights")
        return {}

    run_in_folder(recipe, run, work, resume=False, progress=False)
    assert synced(run.path / "model.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_a_folder_in_which_another_process_runs_is_refused_and_left_as_it_is(
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
                opened(run, other, resume=resume)
        assert FinetuneRecipe.from_yaml(run.recipe_path) == recipe
        process.kill()
    opened(run, other, resume=False)
    assert FinetuneRecipe.from_yaml(run.recipe_path) == other

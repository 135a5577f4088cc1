"""The output folder of a run: its contents, what may be overwritten, and where a resumed run continues.

A finished folder is a complete model folder (config.json, model.safetensors, tokenizer, processor,
answers.json) with metrics.json and recipe.resolved.yaml; checkpoints/ holds what resuming needs.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from traceback import walk_tb
from typing import Any

from safetensors import SafetensorError

from lxmert.atomic_files import final_path, fsync_path, write_atomic
from lxmert.data.json_files import JsonRecord, read_json
from lxmert.errors import ConfigurationError, DataError, TrainingError
from lxmert.locks import try_lock
from lxmert.training.checkpoint_files import is_complete
from lxmert.training.recipe_base import Recipe

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")

# Keys of a recipe that may change between the start and the resumption of a run.
_CHANGEABLE_KEYS = (
    "saving.log_every_steps",
    "saving.keep_checkpoints",
    "evaluation.batch_size",
    "optimisation.loader_processes",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.resolved.yaml"

    @property
    def metrics_path(self) -> Path:
        """The metrics of the run."""
        return self.path / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @contextmanager
    def open(self, recipe: Recipe, *, resume: bool) -> Iterator[None]:
        """Prepare the folder, save the resolved recipe in it, and lock it against other runs.

        Args:
            recipe: The run's recipe.
            resume: True continues the run in the folder, or starts one if there is none.

        Raises:
            ConfigurationError: The folder is not empty and `resume` is False, or it holds a run of another
                recipe or of another number of processes, or another process runs there. Nothing in it is
                changed then. The remains of a run without a checkpoint count as nothing. On Windows, and on
                network file systems without locks, another process goes unnoticed.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a file; choose a folder for the run's output")
        if self.has_run():
            if not resume:
                raise ConfigurationError(
                    f"{self.path} is not empty; add --resume to continue its run, or choose another folder"
                )
            self._check_recipe(recipe)
            self._check_process_count()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        lock = self.checkpoints / "lock"
        with lock.open("wb") as file:
            # Loader processes may outlive a killed run.
            if not try_lock(file.fileno(), is_inherited=False):
                raise ConfigurationError(
                    f"another process is running in {self.path}; wait for it, stop it, or choose another "
                    "folder"
                )
            try:
                write_atomic(self.recipe_path, recipe.to_yaml())
                yield
            finally:
                # A failed start leaves nothing else; where an open file cannot be deleted, it stays.
                with suppress(OSError):
                    if list(self.checkpoints.iterdir()) == [lock]:
                        lock.unlink()
                        self.checkpoints.rmdir()

    def has_run(self) -> bool:
        """Whether there is such a folder with more than the remains of a run without a checkpoint."""
        own_paths = {self.recipe_path, self.metrics_path, self.checkpoints}
        return self.path.is_dir() and (
            any(final_path(path) not in own_paths for path in self.path.iterdir())
            or bool(self.all_checkpoints())
            or bool(self.read_metrics().get("finished"))
        )

    def newest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint whose files are intact, None if there is none."""
        processes = process_count()
        return next((folder for folder in self.all_checkpoints() if is_complete(folder, processes)), None)

    def all_checkpoints(self) -> list[Path]:
        """The checkpoints, newest first, including incomplete ones."""
        if not self.checkpoints.is_dir():
            return []
        by_step = {
            int(match.group(1)): folder
            for folder in self.checkpoints.iterdir()
            if (match := _CHECKPOINT.fullmatch(folder.name))
        }
        return [by_step[step] for step in sorted(by_step, reverse=True)]

    def save_process_count(self) -> None:
        """Save the number of processes, which cannot change when the run is resumed."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_atomic(self._process_count_path, json.dumps({"processes": process_count()}) + "\n")

    def save_fingerprints(self, fingerprints: Mapping[str, str]) -> None:
        """Save the fingerprints of the run's data, which cannot change when it is resumed.

        Args:
            fingerprints: By name of a part of the data.
        """
        write_atomic(self._fingerprints_path, json.dumps(dict(fingerprints), indent=2) + "\n")

    def check_fingerprints(self, fingerprints: Mapping[str, str]) -> None:
        """Refuse to resume with other data, to which a checkpoint's position and answers would not apply.

        Raises:
            ConfigurationError: Part of the data has changed, or the file of saved fingerprints is damaged;
                runs without saved fingerprints are not checked.
        """
        before = _read_object(
            self._fingerprints_path, "delete it and continue with --resume if the data are still the same"
        )
        changed = [name for name, value in fingerprints.items() if before.get(name, value) != value]
        if changed:
            raise ConfigurationError(
                f"{self.path} contains a run with other data, so it cannot be resumed with these: they "
                f"differ in the {', the '.join(changed)}; restore them, or choose another folder"
            )

    def read_metrics(self) -> dict[str, Any]:
        """The metrics saved so far, empty if there are none, or damaged ones that a checkpoint replaces.

        Raises:
            ConfigurationError: They are damaged, and there is no checkpoint.
        """
        try:
            return _read_object(self.metrics_path, "delete it to start over, or choose another folder")
        except ConfigurationError:
            if not self.all_checkpoints():
                raise
            return {}

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Save the run's metrics."""
        write_atomic(self.metrics_path, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")

    @property
    def _fingerprints_path(self) -> Path:
        return self.checkpoints / "data.json"

    @property
    def _process_count_path(self) -> Path:
        return self.checkpoints / "processes.json"

    def _saved_process_count(self) -> int | None:
        """The run's number of processes, None if the file was deleted."""
        remedy = "delete it and continue with --resume and as many processes as before"
        return _read_object(self._process_count_path, remedy).get("processes")

    def _check_process_count(self) -> None:
        if not self.all_checkpoints() or self.read_metrics().get("finished"):
            return
        before, now = self._saved_process_count(), process_count()
        if before in (None, now):
            return
        name = "1 process" if before == 1 else f"{before} processes"
        raise ConfigurationError(
            f"{self.path} contains a run of {name}, so it cannot be resumed with {now}; start {name}, or "
            "choose another folder"
        )

    def _check_recipe(self, recipe: Recipe) -> None:
        if not self.recipe_path.is_file():
            raise ConfigurationError(f"{self.path} contains no run to resume (no {self.recipe_path.name})")
        differences = [
            difference
            for difference in recipe.differences(type(recipe).from_yaml(self.recipe_path))
            if not difference.startswith(_CHANGEABLE_KEYS)
        ]
        if differences:
            raise ConfigurationError(
                f"{self.path} contains a run of another recipe, so it cannot be resumed with this one: "
                + "; ".join(differences)
            )


def delete_old_checkpoints(checkpoint: Path, count: int, best: str | None) -> None:
    """Delete checkpoints older than one, after forcing that one to the disk, in case of a power failure.

    Args:
        checkpoint: The newest one, completely written by all processes.
        count: How many to keep, including it; at least two if another is the best.
        best: The best checkpoint, which is kept; None if there is none.

    Raises:
        OSError: The disk is full or gone; nothing was deleted.
    """
    fsync_path(checkpoint)
    others = [folder for folder in RunFolder(checkpoint.parents[1]).all_checkpoints() if folder != checkpoint]
    # The best one before the others, then the newest.
    others.sort(key=lambda folder: best is None or folder.name != Path(best).name)
    for folder in others[count - 1 :]:
        rmtree(folder, ignore_errors=True)


@contextmanager
def translate_write_errors(description: str) -> Iterator[None]:
    """Turn errors of writing, such as of a full disk, into an error of one line; others pass.

    Raises:
        TrainingError: the writing failed.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_from_torch_writer(error):
            raise
        raise TrainingError(
            f"{description} could not be written ({error}); free some disk space or repair the folder, then "
            "continue with --resume"
        ) from error


def _is_from_torch_writer(error: RuntimeError) -> bool:
    """Whether it was raised in torch.save, not by a process that lost another one, or a GPU without memory.

    Torch's writer has no error class of its own, and its messages differ by platform and version.
    """
    innermost = [frame for frame, _ in walk_tb(error.__traceback__)][-1]
    return type(error) is RuntimeError and innermost.f_globals.get("__name__") == "torch.serialization"


def process_count() -> int:
    """The number of processes that `accelerate launch` or `torchrun` started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, empty if there is no file.

    Raises:
        ConfigurationError: It is damaged; the message names the remedy.
    """
    if not path.is_file():
        return {}
    try:
        return dict(JsonRecord(read_json(path), path).value)
    except DataError as error:
        raise ConfigurationError(f"{error}; {remedy}") from error

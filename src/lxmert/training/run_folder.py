"""The output folder of a run: what lies where, what may be overwritten, and where a resumed run goes on.

A finished folder is a complete model folder (config.json, model.safetensors, tokenizer, processor,
answers.json) with metrics.json and recipe.resolved.yaml; checkpoints/ holds what resuming needs.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxmert.errors import ConfigurationError
from lxmert.training.recipe_base import Recipe

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")

# The trainer writes this file of a checkpoint last: without it the checkpoint was cut short.
_WRITTEN_LAST = "trainer_state.json"

# Keys of a recipe that may change between the start and the resumption of a run.
_FREE_TO_CHANGE = (
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
        """The figures of the run."""
        return self.path / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def open(self, recipe: Recipe, *, resume: bool) -> None:
        """Prepare the folder and save the resolved recipe in it.

        Args:
            recipe: What will run.
            resume: True goes on with what lies in the folder; with an empty one the run simply starts.

        Raises:
            ConfigurationError: The folder holds something and `resume` is False, or it holds a run of another
                recipe. Nothing in it is changed then. The recipe alone, left by a start that failed, counts
                as nothing.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a file; give a folder for the run's output")
        if self.path.is_dir() and any(path != self.recipe_path for path in self.path.iterdir()):
            if not resume:
                raise ConfigurationError(
                    f"{self.path} is not empty; add --resume to go on with its run, or give another folder"
                )
            self._refuse_another_recipe(recipe)
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.recipe_path, recipe.to_yaml())

    def newest_checkpoint(self) -> Path | None:
        """The newest checkpoint that was written to its end, None where there is none."""
        if not self.checkpoints.is_dir():
            return None
        found = {
            int(match.group(1)): folder
            for folder in self.checkpoints.iterdir()
            if (match := _CHECKPOINT.fullmatch(folder.name))
        }
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        whole = [step for step, folder in found.items() if _is_whole(folder, processes)]
        return found[max(whole)] if whole else None

    def read_metrics(self) -> dict[str, Any]:
        """The figures saved so far, empty where there are none."""
        if not self.metrics_path.is_file():
            return {}
        metrics: dict[str, Any] = json.loads(self.metrics_path.read_text(encoding="utf-8"))
        return metrics

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Save the run's figures."""
        write_atomically(self.metrics_path, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")

    def _refuse_another_recipe(self, recipe: Recipe) -> None:
        if not self.recipe_path.is_file():
            raise ConfigurationError(
                f"{self.path} holds no run (no {self.recipe_path.name}), so none can be resumed"
            )
        differences = [
            difference
            for difference in recipe.differences(type(recipe).from_yaml(self.recipe_path))
            if not difference.startswith(_FREE_TO_CHANGE)
        ]
        if differences:
            raise ConfigurationError(
                f"{self.path} holds a run of another recipe, so it cannot be resumed with this one: "
                + "; ".join(differences)
            )


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a kill at any moment leaves the old or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _is_whole(checkpoint: Path, processes: int) -> bool:
    # Each of several processes writes its own random numbers, and does not wait for the others.
    if processes > 1:
        random_states = [checkpoint / f"rng_state_{rank}.pth" for rank in range(processes)]
        if not all(path.exists() for path in random_states):
            return False
    try:
        json.loads((checkpoint / _WRITTEN_LAST).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return True

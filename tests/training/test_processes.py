"""Fine-tuning with several processes or other batch sizes gives the same metrics."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.training.finetuning import finetune
from lxmert.training.recipe import FinetuneRecipe
from tests.training.interruption import assert_same_weights, weights

Make = Callable[..., FinetuneRecipe]
METRICS = ("step", "train_loss", "validation_loss", "validation_accuracy")


def changes_without_dropout(tiny_recipe: Make, folder: Path) -> dict[str, Any]:
    """Changes to a recipe: no dropout, and an answer list that covers only some questions of each batch."""
    model = tiny_recipe().model.model_dump(include={"config", "vocabulary"})
    model["config"] |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "answers.json").write_text('["red", "yes", "2", "circle"]')
    answers = {"source": str(folder / "answers.json")}
    return {
        "model": model,
        "data": {"answers": answers, "test_split": None, "train_images": 19},
        "saving": {"log_every_steps": 1},
    }


def finetune_with_two_processes(recipe: FinetuneRecipe, folder: Path, *options: str) -> None:
    """Runs a recipe with two processes, writing into a folder."""
    path = folder.with_suffix(".yaml")
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    settings = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command = ["-m", "lxmert.cli.main", "finetune", "vqa", "--quiet", "--config", str(path)]
    done = subprocess.run(
        [sys.executable, *launcher, *settings, *command, "--output", str(folder), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("objects", [False, True])
def test_validation_batch_size_does_not_change_metrics(
    tiny_recipe: Make, tmp_path: Path, objects: bool
) -> None:
    changes = changes_without_dropout(tiny_recipe, tmp_path)
    optimisation = {
        "batch_size": 16,
        "epochs": 1,
        "object_prediction": objects,
        "place_weight": float(objects),
    }
    small_batches, large_batches = (
        finetune(
            tiny_recipe(optimisation=optimisation, evaluation={"batch_size": size}, **changes),
            tmp_path / str(size),
        ).metrics["epochs"]
        for size in (7, 60)
    )
    for mine, theirs in zip(small_batches, large_batches, strict=True):
        assert mine["validation_accuracy_per_family"] == theirs["validation_accuracy_per_family"]
        for name in METRICS:
            assert mine[name] == pytest.approx(theirs[name], abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "soft_bce"])
def test_two_processes_give_the_losses_and_weights_of_one(
    tiny_recipe: Make, tmp_path: Path, loss: str
) -> None:
    changes = changes_without_dropout(tiny_recipe, tmp_path)
    objects = {"object_prediction": True, "place_weight": 1.0, "loss": loss, "epochs": 1}
    one = tiny_recipe(optimisation=objects | {"batch_size": 42}, **changes)
    two = tiny_recipe(optimisation=objects | {"batch_size": 21}, **changes)
    finetune_with_two_processes(two, tmp_path / "two")

    expected = finetune(one, tmp_path / "one").metrics
    found = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert found["training"]["processes"] == 2
    # The last update has one batch that is not full, and one without any example.
    assert 0 < found["data"]["train_questions"] % 42 < 21
    for mine, theirs in zip(found["epochs"], expected["epochs"], strict=True):
        for name in METRICS:
            assert mine[name] == pytest.approx(theirs[name], abs=1e-5), name
    found_weights = weights(tmp_path / "two")
    for name, tensor in weights(tmp_path / "one").items():
        # Adam makes whole steps of what rounding leaves of a gradient that is zero, such as a key's bias.
        torch.testing.assert_close(found_weights[name], tensor, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_two_processes_interrupted_within_epoch_resume_to_same_weights(
    tiny_recipe: Make, tmp_path: Path
) -> None:
    saving = {"select": "last", "checkpoint_every_steps": 1, "keep_checkpoints": 100}
    recipe = tiny_recipe(optimisation={"batch_size": 16}, saving=saving)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finetune_with_two_processes(recipe, whole)
    steps = json.loads((whole / "metrics.json").read_text())["training"]["steps"]
    shutil.copytree(whole, broken)
    for name in ("metrics.json", "model.safetensors"):
        (broken / name).unlink()
    kept = steps // 2 + 1  # of the second epoch one step
    for step in range(kept + 1, steps + 1):
        shutil.rmtree(broken / "checkpoints" / f"checkpoint-{step}")

    finetune_with_two_processes(recipe, broken, "--resume")
    assert json.loads((broken / "metrics.json").read_text())["training"]["resumed_at_step"] == kept
    assert kept < steps - 1
    assert_same_weights(weights(broken), weights(whole))

"""Pretraining in processes of their own: two that share the work, and one that is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.running import pretrain

Make = Callable[..., PretrainRecipe]

_ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
_COMMAND = ["-m", "lxmert.cli.main", "pretrain", "--quiet"]


def command(recipe: PretrainRecipe, folder: Path, name: str) -> list[str]:
    """The words that run a recipe into `folder / name`."""
    path = folder / f"{name}.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    return [*_COMMAND, "--config", str(path), "--output", str(folder / name)]


@pytest.mark.slow
@pytest.mark.parametrize("place_weight", [1.0, 0.0])
def test_two_processes_give_the_losses_and_weights_of_one(
    tiny_pretrain_recipe: Make, tmp_path: Path, place_weight: float
) -> None:
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = {"config": tiny_pretrain_recipe().model.config | no_dropout}
    one, two = (
        tiny_pretrain_recipe(
            model=model,
            tasks={"place_weight": place_weight},
            optimisation={"batch_size": batch_size},
            saving={"log_every_steps": 1},
        )
        for batch_size in (32, 16)
    )
    # --multi_gpu is what makes the launcher start more than one process without GPUs too.
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    settings = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    words = [sys.executable, *launcher, *settings, *command(two, tmp_path, "two")]
    done = subprocess.run(words, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("validation loss") == 1

    expected = pretrain(one, tmp_path / "one").metrics
    found = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert found["training"]["processes"] == 2
    for mine, theirs in zip(found["epochs"], expected["epochs"], strict=True):
        for part in ("train", "validation"):
            theirs[part]["runtime"] = mine[part]["runtime"] = 0.0
            assert mine[part] == pytest.approx(theirs[part], abs=1e-5)
    weights = load_file(tmp_path / "two" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "one" / "model.safetensors").items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_killed_process_resumes_to_the_same_weights(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    recipe = tiny_pretrain_recipe(
        optimisation={"epochs": 6}, saving={"checkpoint_every_steps": 5, "select": "last"}
    )
    words = [sys.executable, *command(recipe, tmp_path, "broken")]
    with subprocess.Popen(words, env=_ENVIRONMENT) as process:
        while not (tmp_path / "broken" / "checkpoints" / "checkpoint-10").exists():
            assert process.poll() is None, "ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    pretrain(recipe, tmp_path / "whole")
    subprocess.run([*words, "--resume"], check=True, env=_ENVIRONMENT, capture_output=True)
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "whole" / "model.safetensors").items():
        assert torch.equal(weights[name], tensor), name

"""docs/pretraining.md: its commands and recipes run from top to bottom, on generated scenes."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from lxmert.model import LxmertForPreTraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from tests.command_line import exit_status

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
RECIPES = re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", TEXT, re.DOTALL)


def test_commands_and_recipes_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (len(COMMANDS), len(RECIPES)) == (8, 2)
    monkeypatch.chdir(tmp_path)
    for name, text in RECIPES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    # The number of threads is the whole process's, so other tests would have it too.
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    for command in COMMANDS:
        assert exit_status(*shlex.split(command)[1:]) == 0, f"{command}: {capsys.readouterr().err}"
    output = capsys.readouterr().out
    for folder in ("words", "first", "mine", "only-words", "further"):
        assert f"{folder}: validation loss" in output
    metrics = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    named = set(re.findall(r"`tasks\.\*\.(\w+)`", TEXT))
    assert named == {"loss", "weighted_loss", "constant_loss", "accuracy"}
    assert named <= metrics["validation"]["tasks"]["qa"].keys()
    assert {"accuracies", "sources", "loss"} <= metrics["validation"].keys()
    words = json.loads((tmp_path / "only-words" / "metrics.json").read_text())
    assert set(words["validation"]["tasks"]) == {"masked_words"}
    LxmertForPreTraining.from_pretrained(tmp_path / "further")


def test_every_key_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(model|data|optimisation|evaluation|saving|tasks)\.([\w.]+)", TEXT))
    assert len(named) >= 12
    for section, path in named:
        model = PretrainRecipe.model_fields[section].annotation
        for key in path.split("."):
            assert isinstance(model, type)
            assert issubclass(model, BaseModel)
            assert key in model.model_fields, f"{section}.{path}"
            model = model.model_fields[key].annotation

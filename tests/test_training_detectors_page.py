"""docs/training-detectors.md: its commands, recipes and Python run as written, on generated scenes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.command_line import exit_status
from tests.training.detection.genome import visual_genome_from

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "training-detectors.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
RECIPES = re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", TEXT, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_commands_recipes_and_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (len(COMMANDS), len(RECIPES), len(SNIPPETS)) == (13, 3, 1)
    monkeypatch.chdir(tmp_path)
    for name, text in RECIPES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    # The number of threads is the whole process's, so other tests would have it too.
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        assert exit_status(*words) == 0, f"{command}: {capsys.readouterr().err}"
        if words[:2] == ["scenes", "make"]:
            visual_genome_from(tmp_path / "scenes-data", tmp_path / "genome", ending="jpg")
    output = capsys.readouterr().out
    for folder in ("first", "mine", "other", "from-genome", "further"):
        assert f"{folder}: validation mAP@0.5" in output
    done = subprocess.run([sys.executable, "-c", SNIPPETS[0]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "objects; ('circle', 'cross'" in done.stdout


def test_every_key_that_the_page_names_exists() -> None:
    from lxmert.training.detection.recipe import DetectorRecipe

    named = set(re.findall(r"`(data|optimisation|evaluation|saving|augmentation)\.(\w+)", TEXT))
    assert len(named) >= 10
    for section, key in named:
        annotation = DetectorRecipe.model_fields[section].annotation
        assert annotation is not None
        assert key in annotation.model_fields, f"{section}.{key}"

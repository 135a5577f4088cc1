"""`lxmert train-detector` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lxmert.training.detection.recipe import DetectorRecipe
from tests.command_line import exit_status


@pytest.fixture
def recipe_file(tiny_recipe: Callable[..., DetectorRecipe], tmp_path: Path) -> Path:
    recipe = tiny_recipe(data={"directory": "nowhere", "test_split": "test"}, optimisation={"epochs": 0.3})
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    return tmp_path / "mine.yaml"


def test_train_detector_rejects_folder_of_finished_run_without_resume(
    recipe_file: Path,
    scenes_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train-detector", "--config", str(recipe_file), "--data", str(scenes_folder))
    assert exit_status(*words, "--set", "optimisation.batch_size=4") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("runs/mine: validation mAP@0.5 ")
    assert ", test mAP@0.5 " in captured.out
    assert "mAP@0.5" in captured.err
    metrics = json.loads((tmp_path / "runs/mine/metrics.json").read_text())
    assert metrics["finished"] is True
    assert metrics["training"]["steps"] == 1

    assert exit_status(*words, "--quiet") == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("lxmert: error: runs/mine is not empty")
    assert "\n" not in error
    assert exit_status(*words, "--set", "optimisation.batch_size=4", "--resume", "-q") == 0
    assert capsys.readouterr().err == ""


def test_errors_are_one_line(recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert exit_status("train-detector", "-c", str(recipe_file), "-o", out) == 1
    assert "nowhere: no such data directory" in capsys.readouterr().err

    assert exit_status("train-detector", "-c", str(tmp_path / "none.yaml")) == 1
    assert "none.yaml: no such file; expected a recipe in YAML" in capsys.readouterr().err

    (tmp_path / "bad.yaml").write_text("model: {config: {stem: 3}}\ndata: {format: voc}\n")
    assert exit_status("train-detector", "-c", str(tmp_path / "bad.yaml")) == 1
    error = capsys.readouterr().err.strip()
    assert "3 faults" in error
    assert "\n" not in error

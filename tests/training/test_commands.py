"""`lxmert finetune`, `eval`, `predict` and `score` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lxmert.training.recipe import FinetuneRecipe
from tests.command_line import exit_status


def test_finetune_eval_predict_and_score_commands_agree(
    tiny_recipe: Callable[..., FinetuneRecipe],
    scenes_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tiny_recipe(data={"directory": "nowhere"}).to_yaml()
    (tmp_path / "my.yaml").write_text(recipe, encoding="utf-8")
    out = str(tmp_path / "out")
    words = [
        "finetune",
        "vqa",
        "--config",
        str(tmp_path / "my.yaml"),
        "--data",
        str(scenes_folder),
        "-o",
        out,
    ]
    assert exit_status(*words, "--set", "optimisation.epochs=1") == 0
    captured = capsys.readouterr()
    assert "test accuracy" in captured.out
    assert "epoch 1: validation accuracy" in captured.err
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]

    assert exit_status("eval", out, str(scenes_folder), "--json") == 0
    assert json.loads(capsys.readouterr().out) == stored | {"dtype": "float32"}
    assert exit_status("eval", out, str(scenes_folder), "--limit", "30") == 0
    table = capsys.readouterr().out
    assert "yes/no" in table
    assert "question type" in table

    # The predictions for a leaderboard score the same as `lxmert eval`.
    annotated = [f"{scenes_folder}/annotations/vqa_test_{kind}.json" for kind in ("questions", "annotations")]
    predictions = str(tmp_path / "vqa.json")
    assert exit_status("predict", out, str(scenes_folder), "-o", predictions, "-q") == 0
    assert exit_status("validate-submission", "vqa", predictions, "--questions", annotated[0]) == 0
    capsys.readouterr()
    assert (
        exit_status("score", "vqa", "--predictions", predictions, "--annotations", annotated[1], "--json")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["overall"] == stored["overall"]

    # Once more into the same folder: refused in one line, nothing lost.
    assert exit_status(*words) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("lxmert: error:")
    assert "--resume" in error
    assert "\n" not in error
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test"] == stored


def test_bad_recipe_is_one_line_with_all_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text(
        "model: {vocabulary: scenes}\ndata: {dir: x}\noptimisation: {epochs: 0}\n"
    )
    assert exit_status("finetune", "vqa", "-c", str(tmp_path / "bad.yaml")) == 1
    error = capsys.readouterr().err.strip()
    assert "3 faults" in error
    assert "\n" not in error

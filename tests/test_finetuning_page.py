"""docs/finetuning.md: its commands, recipes and Python run from top to bottom, on generated scenes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from lxmert.training.recipe import GqaRecipe, Nlvr2Recipe, VqaRecipe
from tests.command_line import exit_status

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
RECIPES = re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", TEXT, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def write_gqa_files(scenes_folder: Path, folder: Path) -> None:
    """Write the questions of generated scenes under the names of GQA's files."""
    folder.mkdir()
    for split, ours in (("train", "train"), ("val", "val"), ("testdev", "test")):
        questions = json.loads((scenes_folder / f"gqa_{ours}_questions.json").read_text(encoding="utf-8"))
        balanced = {key: question for key, question in questions.items() if question["isBalanced"]}
        assert 0 < len(balanced) < len(questions)
        for name, chosen in (("all", questions), ("balanced", balanced)):
            path = folder / f"{split}_{name}_questions.json"
            path.write_text(json.dumps(chosen), encoding="utf-8")


def write_labelled_questions(scenes_folder: Path, folder: Path) -> None:
    """Write three labelled questions about each of some images in the format of own_*.jsonl."""
    for split in ("train", "val", "test"):
        lines = []
        for picture in sorted((scenes_folder / "images" / split).iterdir())[:2]:
            (folder / "photos" / split).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, folder / "photos" / split)
            for number, answer in enumerate(("yes", "2", "un été")):
                line = {"image": f"{split}/{picture.name}", "sentence": f"What {number}?", "answer": answer}
                lines.append(json.dumps(line))
        (folder / f"own_{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_commands_recipes_and_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (len(COMMANDS), len(RECIPES), len(SNIPPETS)) == (20, 5, 1)
    monkeypatch.chdir(tmp_path)
    for name, text in RECIPES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    # The number of threads is the whole process's, so other tests would have it too.
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    output_of = {}
    for command in COMMANDS:
        if "gqa.yaml" in command:
            write_gqa_files(tmp_path / "scenes-data" / "annotations", tmp_path / "gqa")
        if "extract own" in command:
            write_labelled_questions(tmp_path / "scenes-data", tmp_path / "own")
        status = exit_status(*shlex.split(command)[1:])
        out, errors = capsys.readouterr()
        assert status == 0, f"{command}: {errors}"
        output_of[command] = out
    all_output = "".join(output_of.values())
    for folder in ("questions", "pairs", "official", "mine", "balanced", "again"):
        assert f"{folder}: validation accuracy" in all_output
    learned = json.loads((tmp_path / "balanced" / "metrics.json").read_text(encoding="utf-8"))["data"]
    # Ten balanced questions about each of the 36 pictures of train and val.
    assert learned["train_questions"] == 360
    [of_all_questions] = (out for command, out in output_of.items() if "testdev_all" in command)
    assert "consistency" in of_all_questions
    assert "gqa.json: valid" in all_output
    assert "predictions.json: valid; predictions: 6" in all_output
    evaluated, scored = (
        [line for line in out.splitlines() if line.startswith("│")]
        for verb in ("lxmert eval questions", "lxmert score gqa")
        for command, out in output_of.items()
        if command.startswith(verb)
    )
    assert evaluated == scored != []
    done = subprocess.run([sys.executable, "-c", SNIPPETS[0]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(True|False) \d+%$", done.stdout, re.MULTILINE)


def test_every_key_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(data|optimisation|evaluation|saving|text)\.([\w.]+)", TEXT))
    assert len(named) >= 8
    for section, path in named:
        found = False
        for recipe in (VqaRecipe, GqaRecipe, Nlvr2Recipe):
            model = recipe.model_fields[section].annotation
            for key in path.split("."):
                fields = (
                    model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
                )
                model = fields[key].annotation if key in fields else None
            found = found or model is not None
        assert found, f"{section}.{path}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"src/[\w/]+\.\w+", TEXT))))
def test_every_file_that_the_page_names_exists(path: str) -> None:
    assert (ROOT / path).exists()

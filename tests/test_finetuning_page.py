"""What docs/finetuning.md shows works, from top to bottom, on made scenes."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from lxmert.cli.main import main
from lxmert.training.recipe import GqaRecipe, Nlvr2Recipe, VqaRecipe

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
RECIPES = re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", TEXT, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_commands_recipes_and_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (len(COMMANDS), len(RECIPES), len(SNIPPETS)) == (12, 3, 1)
    monkeypatch.chdir(tmp_path)
    for name, text in RECIPES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    # The number of threads is the whole process's, so other tests would have it too.
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command)[1:])
        assert ended.value.code in (0, None), f"{command}: {capsys.readouterr().err}"
    told = capsys.readouterr().out
    for folder in ("questions", "pairs", "official", "again"):
        assert f"{folder}: validation accuracy" in told
    assert "gqa.json: valid" in told
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


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:configs|src)/[\w/]+\.\w+", TEXT))))
def test_every_file_that_the_page_names_exists(path: str) -> None:
    assert (ROOT / path).exists()

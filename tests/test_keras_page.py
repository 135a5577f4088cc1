"""docs/keras.md: its Python runs as written, in one process; its extras and link targets exist."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "keras.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_python_runs_as_written(folder_with_small_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    assert len(SNIPPETS) == 4
    shutil.copytree(folder_with_small_checkpoint, tmp_path, dirs_exist_ok=True)
    command = [sys.executable, "-c", "\n".join(SNIPPETS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shape, same, losses, answers, kind, missing = done.stdout.strip().splitlines()[-6:]
    assert shape == "(2, 11)"
    assert same == "True"
    assert len(losses.split(",")) == 2
    assert answers.startswith("[")
    assert kind == "TFLxmertForQuestionAnswering"
    assert missing == "set()"


@pytest.mark.parametrize("extra", re.findall(r"lxmert\[([\w-]+)\]", TEXT))
def test_extra_named_on_page_exists(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extra in project["optional-dependencies"]

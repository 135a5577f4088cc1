"""docs/web.md: its Python runs as written; its command is tested in tests/cli/test_serve.py."""

import re
import subprocess
import sys
from pathlib import Path

from lxmert.scenes import sample
from lxmert.web import page, serving

TEXT = (Path(__file__).parents[1] / "docs" / "web.md").read_text(encoding="utf-8")


def test_python_runs_as_written(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    _, _, [question] = sample(seed=7, index=0, questions=1)
    assert done.stdout == f"{question.text} -> {question.answer}\n"


def test_limits_are_those_of_the_page() -> None:
    assert f"up to {serving._MAX_UPLOAD.removesuffix('mb')} MB" in TEXT
    assert "deleted after an hour" in TEXT
    assert page._KEPT_S == 60 * 60

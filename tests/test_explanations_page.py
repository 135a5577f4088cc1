"""docs/explanations.md: its commands and Python run as written, and its figures are those measured."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lxmert.explain import METHODS
from lxmert.model.outputs import LxmertModelOutput
from tests.command_line import exit_status

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_commands_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(COMMANDS) == 2
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        assert exit_status(*shlex.split(command)[1:]) == 0, f"{command}: {capsys.readouterr().err}"
    first = re.search(r"^object +weight *\n(.*)\n(.*)$", capsys.readouterr().out, re.MULTILINE)
    # The page says what the model looked at most.
    assert first is not None
    assert "striped orange star" in first[1]
    assert "hollow orange cross" in first[2]
    with (
        Image.open("scene-7-0.explained.png") as drawn,
        Image.open(ROOT / "docs/images/explanation.png") as shown,
    ):
        assert drawn.size == shown.size


def test_python_runs_as_written_from_top_to_bottom(tmp_path: Path) -> None:
    assert len(SNIPPETS) == 2
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(SNIPPETS)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer, *objects, sums = done.stdout.splitlines()
    assert answer == "star"
    assert all(re.fullmatch(r"0\.\d\d small .+", line) for line in objects)
    assert sums == "(8,) 1.00"
    assert (tmp_path / "why.png").exists()
    assert (tmp_path / "head.png").exists()


def test_page_describes_and_measures_exactly_the_available_methods() -> None:
    described = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", TEXT.split("## What they")[0], re.MULTILINE)
    measured = re.findall(
        r"^\| (\w+) \|", TEXT.split("## What they")[1].split("## In Python")[0], re.MULTILINE
    )
    assert described == list(METHODS)
    assert measured == ["method", *METHODS, "chance"]


def test_figures_equal_benchmark_results() -> None:
    found = json.loads((ROOT / "benchmarks/results/explanations.json").read_text(encoding="utf-8"))
    for name, *cells in found["tables"][0]["rows"]:
        assert f"| {name} | {' | '.join(cells)} |" in TEXT


def test_attention_maps_named_on_page_are_output_fields() -> None:
    named = re.findall(r"^\| `(\w+_attentions)` \|", TEXT, re.MULTILINE)
    assert set(named) == {name for name in LxmertModelOutput.__dataclass_fields__ if "attentions" in name}

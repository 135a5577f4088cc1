"""docs/prediction.md: its commands and Python run from top to bottom, on generated scenes."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import exit_status

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "prediction.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(.+)$", TEXT.split("## Questions of your own")[0], re.MULTILINE)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_commands_and_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (len(COMMANDS), len(SNIPPETS)) == (6, 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "torchrun":
            words = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
            position = words.index("lxmert")
            launched = [*words[:position], sys.executable, "-m", "lxmert.cli.main", *words[position + 1 :]]
            done = subprocess.run(launched, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            continue
        assert exit_status(*words[1:]) == 0, f"{command}: {capsys.readouterr().err}"
    output = capsys.readouterr().out
    assert "accuracy" in output
    assert "from-pixels.json: " in output
    assert (tmp_path / "shared.json").read_bytes() == (tmp_path / "vqa.json").read_bytes()
    assert len(json.loads((tmp_path / "vqa.json").read_text())) > 50
    done = subprocess.run([sys.executable, "-c", SNIPPETS[0]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(?:[abc](?: [\w/ ]+ \d+%){2}\n){3}", done.stdout), done.stdout
    assert "c cross " in done.stdout


@pytest.mark.parametrize("path", sorted(set(re.findall(r"src/[\w/]+\.\w+", TEXT))))
def test_every_file_that_the_page_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_option_that_the_page_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    exit_status("predict", "--help")
    known = capsys.readouterr().out
    named = set(re.findall(r"`(--[a-z-]+)`", TEXT))
    assert len(named) >= 5
    assert all(option in known for option in named)

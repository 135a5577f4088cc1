"""README: its Python runs, its commands exist with the options shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import exit_status

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^ {4}(lxmert .+?)(?: {2,}#.*)?$", README, re.MULTILINE)

# Commands that have commands of their own.
_GROUPS = ("features", "scenes", "score")


def test_readme_has_snippets_and_commands() -> None:
    assert len(SNIPPETS) >= 2
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_python_runs_as_written(snippet: str, folder_with_small_checkpoint: Path) -> None:
    command = [sys.executable, "-c", snippet]
    done = subprocess.run(
        command, cwd=folder_with_small_checkpoint, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_command_and_its_options_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = command.split()[1:]
    verb = words[:2] if words[0] in _GROUPS else words[:1]
    assert exit_status(*verb, "--help") == 0
    help_text = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert option in help_text

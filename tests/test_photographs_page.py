"""docs/photographs.md works as written, with a local server and small random models in place of the hub."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command_line import exit_status
from tests.local_server import LocalServer, serving
from tests.small_checkpoints import DETECTOR_NAME, write_small_published_detector, write_small_published_model

PAGE = Path(__file__).parents[1] / "docs" / "photographs.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
GENOME = "airsplay/py-bottom-up-attention/master/demo/data/genome/1600-400-20"


@pytest.fixture(scope="module")
def server(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("page")
    repositories = {DETECTOR_NAME: folder / "detector"}
    write_small_published_detector(folder / "detector")
    raw = {
        f"{GENOME}/{name}_vocab.txt": (shared_data / "vg" / f"{name}_vocab.txt").read_bytes()
        for name in ("objects", "attributes")
    }
    for task, count in (("vqa", 3129), ("gqa", 1842)):
        repositories[f"unc-nlp/lxmert-{task}-uncased"] = folder / task
        write_small_published_model(folder / task, answers=count)
        table = shared_data / "answers" / f"{task}_trainval_label2ans.json"
        raw[f"airsplay/lxmert/master/data/{task}/trainval_label2ans.json"] = table.read_bytes()
    with serving(LocalServer(repositories, raw)) as running:
        yield running


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a photograph, boxes, and a model folder without processor."""
    folder = tmp_path_factory.mktemp("page")
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(folder / "photo.jpg")
    (folder / "boxes.json").write_text("[[10, 20, 120, 90], [60, 5, 150, 110]]")
    write_small_published_model(folder / "FOLDER", answers=3129)
    return folder


def test_page_has_expected_snippets_and_commands() -> None:
    assert len(SNIPPETS) == 2
    assert len(COMMANDS) == 7


def test_python_runs_as_written_from_top_to_bottom(server: LocalServer, page_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(SNIPPETS)],
        cwd=page_folder,
        env=server.environment(page_folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, objects, *more = done.stdout.splitlines()
    assert answer.endswith("%")
    assert len(objects.split(", ")) == 36
    assert [line.partition("? ")[0] for line in more] == ["Is it day", "Where is this"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(
    command: str,
    server: LocalServer,
    page_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.redirect_downloads(monkeypatch, page_folder)
    monkeypatch.chdir(page_folder)
    status = exit_status(*shlex.split(command)[1:])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert captured.out

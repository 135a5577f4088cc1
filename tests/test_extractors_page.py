"""docs/extractors.md: its Python runs as written, its commands run, its recipes build extractors.

The models it names are replaced by small random ones, in folders of their names.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from transformers import Dinov2Config, Dinov2Model

from lxmert.vision import build_extractor
from tests.command_line import exit_status
from tests.small_checkpoints import DETECTOR_NAME, write_small_published_detector
from tests.vision.small_detectors import save_detector

PAGE = Path(__file__).parents[1] / "docs" / "extractors.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
RECIPES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^ {4}(lxmert look .+?)(?: {2,}#.*)?$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a photograph and small random models under the names that the page uses."""
    folder = tmp_path_factory.mktemp("page")
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(folder / "photo.jpg")
    (folder / "boxes.json").write_text("[[10, 20, 120, 90], [60, 5, 150, 110]]")
    save_detector(folder / "PekingU/rtdetr_r50vd", "rt_detr")
    dinov2 = Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=56, patch_size=14
    )
    Dinov2Model(dinov2).save_pretrained(folder / "facebook/dinov2-small")
    write_small_published_detector(folder / DETECTOR_NAME)
    return folder


def test_page_has_expected_snippets_commands_and_recipes() -> None:
    assert len(SNIPPETS) >= 6
    assert len(COMMANDS) >= 4
    assert len(RECIPES) == 2


def test_python_runs_as_written_from_top_to_bottom(page_folder: Path) -> None:
    command = [sys.executable, "-c", "\n".join(SNIPPETS)]
    done = subprocess.run(command, cwd=page_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "36 cells of 8 features" in done.stdout
    assert "pooled-pixels-10 (2, 300)" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(
    command: str, page_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(page_folder)
    words = shlex.split(command)[1:]
    if "--detector" not in words:
        words += ["--detector", "PekingU/rtdetr_r50vd"]  # whether the embedded one is there is not the point
    status = exit_status(*words)
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert "object" in captured.out


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_builds_extractor(recipe: str, page_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page_folder)
    extractor = build_extractor(yaml.safe_load(recipe)["data"]["extractor"])
    (regions,) = extractor([Image.open("photo.jpg")])
    assert len(regions) in (12, 36)  # the small detector has 12 queries

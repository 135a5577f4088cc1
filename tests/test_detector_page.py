"""docs/detector.md: its Python runs as written; the tests and options it names exist."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lxmert.vision import FasterRcnnExtractor
from tests.small_checkpoints import DETECTOR_NAME, write_small_published_detector
from tests.synthetic_images import noise_image

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "detector.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
# In the tables: `test_file.py`: `test_one`, `test_other`; `test_file.py`: …
NAMED_TESTS = [
    (file, test)
    for file, tests in re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, )?)+)", TEXT)
    for test in re.findall(r"`(test_\w+)`", tests)
]


def test_python_runs_as_written_from_top_to_bottom(tmp_path: Path) -> None:
    write_small_published_detector(tmp_path / DETECTOR_NAME)
    noise_image(120, 160).save(tmp_path / "photo.jpg")
    command = [sys.executable, "-c", "\n".join(SNIPPETS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "objects by faster-rcnn-" in done.stdout


def test_page_has_expected_numbers_of_rows_and_cited_tests() -> None:
    assert len(NAMED_TESTS) >= 24
    assert len(re.findall(r"^\| [RF]\d+ \|", TEXT, re.MULTILINE)) == 23


@pytest.mark.parametrize(("file", "test"), NAMED_TESTS)
def test_every_cited_test_exists(file: str, test: str) -> None:
    found = (ROOT / "tests" / "vision").rglob(file)
    assert any(f"def {test}(" in path.read_text(encoding="utf-8") for path in found)


def test_options_table_lists_exactly_the_extractor_keywords() -> None:
    table = TEXT.split("## Options")[1].split("**Your own boxes**")[0]
    listed = [name for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for name in row.split(", ")]
    keywords = [
        f"`{name}`"
        for name, parameter in inspect.signature(FasterRcnnExtractor).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    assert sorted(listed) == sorted(keywords)

"""docs/data.md: its example files are readable, its Python, commands and recipes work as written."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lxmert.data.corpus_sections import CorpusSection
from lxmert.data.file_layouts import GqaFiles, Nlvr2Files, VqaFiles
from tests.command_line import exit_status

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```(?:json|csv)\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE))
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
RECIPES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)

PRINTED = """\
Where is he looking? ('down', 'down', 'at table') val2014
no verify ('select: cup (1231798)', 'verify color: red')
('yes', 'no') cup (10, 20, 30, 40)
dev-850-0-img0 False True closed
Caption(image_id=42, caption='A small dog sleeps on shoes.', file_name='COCO_val2014_000000000042.jpg')
('the clock is green',)
(('What color is the clock?', 'Green.'),)
{1: None, 2: 42}
mscoco A dog sleeps. None
vqa What sleeps? {'dog': 1.0, 'puppy': 0.3}
vqa How many dogs? {'1': 1.0}
{'dog': 1, 'puppy': 0.3} 07333408
False
('beach_001',) Two dogs run along the water. None None
('beach_001',) a sandy beach None None
('beach_001',) How many dogs are there? {'2': 1.0} None
('beach_002',) What is the man holding? {'surfboard': 1.0, 'board': 0.6} None
('beach_002',) What color is it? {'red': 1.0, 'orange': 0.6} None
('beach_001', 'beach_002') Both pictures show a dog. None False
{'red': 1.0}
['down'] {0: 0.6}
1 of 1 questions (100.0 %) have an answer in the vocabulary; the best possible score is 100.00 %
1 {'2': 0.8999999999999999}
"""


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the page shows."""
    folder = tmp_path_factory.mktemp("page")
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_page_has_expected_files_snippets_recipes_and_commands() -> None:
    assert len(FILES) == TEXT.count("```json") + TEXT.count("```csv")
    assert (len(FILES), len(SNIPPETS), len(RECIPES), len(COMMANDS)) == (17, 10, 2, 3)


def test_python_runs_as_written_from_top_to_bottom(page_folder: Path) -> None:
    command = [sys.executable, "-c", "\n".join(SNIPPETS)]
    done = subprocess.run(command, cwd=page_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTED


def test_commands_run(
    page_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(page_folder)
    for command in COMMANDS:
        status = exit_status(*shlex.split(command)[1:])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        assert "1 of 1 questions (100.0 %)" in captured.out


@pytest.mark.parametrize("recipe", RECIPES)
def test_corpus_recipes_are_valid(recipe: str) -> None:
    assert len(CorpusSection.model_validate(yaml.safe_load(recipe)).sources) >= 3


def test_recipe_keys_named_on_page_exist() -> None:
    kinds = set(CorpusSection.model_json_schema()["$defs"]["SourceSection"]["properties"]["kind"]["enum"])
    assert set(re.findall(r"[Ss]ources? `(\w+)`", TEXT)) | {"visual_genome_questions"} == kinds
    fields = {name for files in (VqaFiles, GqaFiles, Nlvr2Files) for name in files.model_fields}
    keys = set(re.findall(r"`data\.files\.(\w+)", TEXT))
    assert keys == {"questions", "annotations", "choices", "sentences", "format", "images"}
    assert keys <= fields

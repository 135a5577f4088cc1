"""docs/scoring.md: its commands run on small files, its Python runs as written."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import exit_status

PAGE = Path(__file__).parents[1] / "docs" / "scoring.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^ {4}(lxmert .+)$", TEXT, re.MULTILINE)
QUESTION = {
    "imageId": "1",
    "question": "Is it red?",
    "answer": "yes",
    "isBalanced": True,
    "types": {"structural": "verify", "semantic": "attr", "detailed": "verifyAttr"},
    "groups": {"global": None, "local": None},
    "entailed": [],
    "annotations": {"question": {"1": "7"}, "answer": {}, "fullAnswer": {}},
    "semantic": [{"operation": "select", "dependencies": [], "argument": "it (7)"}],
}
ANNOTATION = {
    "image_id": 1,
    "question_type": "which way",
    "answer_type": "other",
    "multiple_choice_answer": "down",
    "answers": [{"answer_id": answer_id, "answer": "down"} for answer_id in range(10)],
}
CHOICES = {"valid": ["yes", "no"], "plausible": ["yes", "no"]}
VQA_IDS = (262148000, 262148001)
GQA_IDS = ("07333408", "07333409")
NLVR2_IDS = ("dev-850-0-0", "dev-850-1-0", "dev-7-0-1")
FILES: dict[str, Any] = {
    "v2_mscoco_val2014_annotations.json": {
        "annotations": [{"question_id": question_id} | ANNOTATION for question_id in VQA_IDS]
    },
    "v2_OpenEnded_mscoco_val2014_questions.json": {
        "questions": [
            {"question_id": question_id, "image_id": 1, "question": "Where?"} for question_id in VQA_IDS
        ]
    },
    "vqa_predictions.json": [{"question_id": question_id, "answer": "down"} for question_id in VQA_IDS],
    "val_all_questions.json": dict.fromkeys(GQA_IDS, QUESTION),
    "val_choices.json": dict.fromkeys(GQA_IDS, CHOICES),
    "val_sceneGraphs.json": {
        "1": {"width": 4, "height": 3, "objects": {"7": {"name": "dog", "x": 0, "y": 0, "w": 2, "h": 3}}}
    },
    "gqa_predictions.json": [{"questionId": question_id, "prediction": "yes"} for question_id in GQA_IDS],
    "attentions.json": [{"questionId": question_id, "attention": [[1]]} for question_id in GQA_IDS],
}


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the page names."""
    folder = tmp_path_factory.mktemp("page")
    for name, content in FILES.items():
        (folder / name).write_text(json.dumps(content))
    rows = ({"identifier": identifier, "sentence": "It is.", "label": "True"} for identifier in NLVR2_IDS)
    (folder / "dev.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    predictions = zip(NLVR2_IDS, (True, False, True), strict=True)
    (folder / "nlvr2_predictions.csv").write_text(
        "".join(f"{question_id},{truth}\n" for question_id, truth in predictions)
    )
    return folder


def test_page_has_expected_commands_and_snippets() -> None:
    assert len(COMMANDS) >= 10
    assert len(SNIPPETS) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(
    command: str, page_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(page_folder)
    status = exit_status(*shlex.split(command)[1:])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert captured.out


def test_python_runs_as_written(page_folder: Path) -> None:
    command = [sys.executable, "-c", SNIPPETS[0]]
    done = subprocess.run(command, cwd=page_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "66.67 %, consistent 50.00 %\n()\n"


def test_every_option_named_on_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    help_text = ""
    verbs = (
        ["score", "vqa"],
        ["score", "gqa"],
        ["score", "nlvr2"],
        ["validate-submission"],
        ["answers", "build"],
        ["answers", "cover"],
    )
    for words in verbs:
        exit_status(*words, "--help")
        help_text += capsys.readouterr().out
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)):
        assert option in help_text, option


def test_fault_lines_match_examples_on_page(
    page_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.json").write_text(json.dumps([{"question_id": "262148000", "answer": "down"}]))
    status = exit_status(
        "validate-submission",
        "vqa",
        "p.json",
        "-q",
        str(page_folder / "v2_OpenEnded_mscoco_val2014_questions.json"),
    )
    assert status == 1
    lines = capsys.readouterr().err.splitlines()
    shown = re.findall(r"^ {4}(fault: .+)$", TEXT, re.MULTILINE)
    for line, example in zip(lines, shown, strict=True):
        assert line.split(":")[:2] == example.split(":")[:2]
    assert "'262148000' instead of an integer" in lines[0]
    assert "'262148000' instead of an integer" in shown[0]

"""`lxmert export`: what it refuses, and models of no task."""

import json
from pathlib import Path

import pytest

from lxmert.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["export", *words])
    told = capsys.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 0, told.out + told.err


def test_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for words in (
        ["--format", "torch", "--int8"],
        ["--features", str(tmp_path)],
        ["--format", "tflite"],
        ["--task", "captions"],
    ):
        code, _ = run(capsys, "scenes", "-o", out, *words)
        assert code == 2, words
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_refused_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    code, told = run(capsys, "no/such-model-at-all", "-o", str(tmp_path), "--format", "torch", "--overwrite")
    assert code == 1
    assert "is no exported model" in told
    assert (tmp_path / "letter.txt").read_text() == "Dear"


def test_a_pre_trained_model_of_no_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hub_stand_in: Path
) -> None:
    model = str(hub_stand_in / "unc-nlp" / "lxmert-base-uncased")
    code, told = run(capsys, model, "-o", str(tmp_path / "deep" / "out"), "--format", "torch")
    assert code == 0, told
    assert "answers equal (100.0%)" in told
    settings = json.loads((tmp_path / "deep" / "out" / "export.json").read_text())
    assert (settings["model_class"], settings["task"]) == ("LxmertForPreTraining", None)
    assert (tmp_path / "deep" / "out" / "tokenizer.json").is_file()
    code, told = run(capsys, model, "-o", str(tmp_path / "other"), "--format", "torch", "--check", model)
    assert (code, "this model has none" in told) == (2, True)

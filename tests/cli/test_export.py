"""`lxmert export`: what it refuses, and models of no task."""

import json
from pathlib import Path

import pytest

from tests.command_line import CommandLine
from tests.inference.exporting.conftest import small_model, small_processor


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status, out, err = CommandLine(capsys).run("export", *words)
    return status, out + err


def test_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for words in (
        ["--format", "torch", "--int8"],
        ["--format", "tflite"],
        ["--task", "captions"],
    ):
        code, _ = run(capsys, "scenes", "-o", out, *words)
        assert code == 2, words
    for name, value in (
        ("--features", str(tmp_path)),
        ("--split", "test"),
        ("--limit", "7"),
        ("--files", "questions=a"),
    ):
        code, told = run(capsys, "scenes", "-o", out, name, value)
        assert code == 2
        assert f"{name} can only be used with --check" in told
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_refused_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    code, told = run(capsys, "no/such-model-at-all", "-o", str(tmp_path), "--format", "torch", "--overwrite")
    assert code == 1
    assert "is not an exported model" in told
    assert (tmp_path / "letter.txt").read_text() == "Dear"


def test_an_encoder_comes_without_a_processor_but_not_with_a_damaged_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "encoder"
    small_model().lxmert.save_pretrained(model)
    words = [str(model), "-o", str(tmp_path / "out"), "--format", "torch"]
    code, told = run(capsys, *words)
    assert code == 0, told
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    small_processor().save_pretrained(model)
    whole = (model / "tokenizer.json").read_text(encoding="utf-8")
    (model / "tokenizer.json").write_text(whole[:50], encoding="utf-8")
    code, told = run(capsys, *words, "--overwrite")
    assert code == 1
    assert "is not JSON" in told
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").unlink(missing_ok=True)
    code, told = run(capsys, *words, "--overwrite")
    assert code == 1
    assert "no vocabulary" in told
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_a_pre_trained_model_of_no_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder_with_small_checkpoint: Path
) -> None:
    model = str(folder_with_small_checkpoint / "unc-nlp" / "lxmert-base-uncased")
    code, told = run(capsys, model, "-o", str(tmp_path / "deep" / "out"), "--format", "torch")
    assert code == 0, told
    assert "answers equal (100.0%)" in told
    settings = json.loads((tmp_path / "deep" / "out" / "export.json").read_text())
    assert (settings["model_class"], settings["task"]) == ("LxmertForPreTraining", None)
    assert (tmp_path / "deep" / "out" / "tokenizer.json").is_file()
    code, told = run(capsys, model, "-o", str(tmp_path / "other"), "--format", "torch", "--check", model)
    assert (code, "this model has none" in told) == (2, True)

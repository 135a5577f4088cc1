"""`lxmert export`: invalid options, existing folders, encoders, and pre-trained models without a task."""

import json
from pathlib import Path

import pytest

from lxmert.cli import export as cli_export
from lxmert.inference.exporting import exporter
from lxmert.inference.exporting.exporter import ExportReport
from lxmert.inference.exporting.parity import Parity, ParityCheck
from tests.command_line import CommandLine
from tests.inference.exporting.conftest import small_model, small_processor

WARNING = "warning: 8-bit weights change more than 1 % of the answers"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status, out, err = CommandLine(capsys).run("export", *words)
    return status, out + err


def test_invalid_options_exit_with_status_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
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
        code, output = run(capsys, "scenes", "-o", out, name, value)
        assert code == 2
        assert f"{name} can only be used with --check" in output
    assert not list(tmp_path.iterdir())


def test_folder_with_other_files_is_rejected_before_loading_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    code, output = run(
        capsys, "no/such-model-at-all", "-o", str(tmp_path), "--format", "torch", "--overwrite"
    )
    assert code == 1
    assert "is not an exported model" in output
    assert (tmp_path / "letter.txt").read_text() == "Dear"


def test_encoder_exports_without_processor_but_not_with_damaged_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "encoder"
    small_model().lxmert.save_pretrained(model)
    words = [str(model), "-o", str(tmp_path / "out"), "--format", "torch"]
    code, output = run(capsys, *words)
    assert code == 0, output
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    small_processor().save_pretrained(model)
    whole = (model / "tokenizer.json").read_text(encoding="utf-8")
    (model / "tokenizer.json").write_text(whole[:50], encoding="utf-8")
    code, output = run(capsys, *words, "--overwrite")
    assert code == 1
    assert "is not JSON" in output
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").unlink(missing_ok=True)
    code, output = run(capsys, *words, "--overwrite")
    assert code == 1
    assert "no vocabulary" in output
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_pretraining_model_exports_without_task_and_rejects_check(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folder_with_small_checkpoint: Path
) -> None:
    model = str(folder_with_small_checkpoint / "unc-nlp" / "lxmert-base-uncased")
    code, output = run(capsys, model, "-o", str(tmp_path / "deep" / "out"), "--format", "torch")
    assert code == 0, output
    assert "answers equal (100.0%)" in output
    settings = json.loads((tmp_path / "deep" / "out" / "export.json").read_text())
    assert (settings["model_class"], settings["task"]) == ("LxmertForPreTraining", None)
    assert (tmp_path / "deep" / "out" / "tokenizer.json").is_file()
    code, output = run(capsys, model, "-o", str(tmp_path / "other"), "--format", "torch", "--check", model)
    assert (code, "this model has none" in output) == (2, True)


@pytest.mark.parametrize(
    ("random", "questions", "warning"),
    [
        (98, None, " to random inputs; omit --int8, or measure the effect on real questions with --check"),
        (98, 99, None),
        (99, 98, "; omit --int8"),
    ],
)
def test_warning_about_8_bits_judges_by_questions_of_check(
    random: int,
    questions: int | None,
    warning: str | None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With figures in place of an export, which takes long."""
    pytest.importorskip("onnxscript")
    equal = [random] if questions is None else [random, questions]
    report = ExportReport(tmp_path, int8=[Parity("rows", answers=100, equal_answers=one) for one in equal])
    monkeypatch.setattr(exporter, "export_model", lambda *_, **__: report)
    monkeypatch.setattr(cli_export, "_question_check", lambda *_: ParityCheck("questions", []))
    check = [] if questions is None else ["--check", str(tmp_path)]
    code, output = run(capsys, "scenes", "-o", str(tmp_path / "out"), "--int8", *check)
    assert code == 0, output
    found = [line.removeprefix(WARNING) for line in output.splitlines() if line.startswith("warning")]
    assert found == [line for line in [warning] if line is not None]

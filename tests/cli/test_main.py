"""The command line as a whole: output encodings, options that do not fit, interrupts and signals."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from PIL import Image
from torch import distributed
from torch.utils.data import DataLoader

from lxmert.cli import main
from lxmert.cli.training_options import training_run
from lxmert.inference.ranks import leave_group
from lxmert.training.pretraining import running
from tests.command_line import exit_status


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_characters_missing_in_output_encoding_do_not_fail_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    out, err = BytesIO(), BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(out, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(err, encoding=encoding))
    words = ["--seed", "3", "--scenes", "1", "--questions", "2", "--output", str(tmp_path / "demo")]
    status = exit_status("demo", *words)
    sys.stdout.flush()
    sys.stderr.flush()
    assert status == 0, err.getvalue()
    output = out.getvalue().decode(encoding)
    assert "of 2 correct. Seed 3" in output
    assert ("✓" in output) == (encoding == "utf-8")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_json_output_is_utf8_for_any_stdout_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    out = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(out, encoding=encoding))
    question = "Is the star größer, 大きい?"
    picture = tmp_path / "größe-\udce4.png"  # Not UTF-8, as on old disks.
    Image.new("RGB", (64, 48), "red").save(tmp_path / "plain.png")
    (tmp_path / "plain.png").rename(picture)
    assert exit_status("ask", picture, question, "--json") == 0
    sys.stdout.flush()
    data = json.loads(out.getvalue().decode("utf-8"))
    assert (data["question"], data["image"]) == (question, str(picture))


def test_evaluator_of_another_task_is_rejected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exit_status("eval", "scenes", str(tmp_path), "--task", "gqa", "--evaluator", "before-2021-03") == 2
    assert "--evaluator can only be used with the task vqa, not with gqa" in capsys.readouterr().err


def test_evaluator_option_with_own_file_format_is_rejected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--files", "format=lxmert", "--evaluator", "before-2021-03"]
    assert exit_status("eval", "scenes", str(tmp_path), *words) == 2
    assert (
        "--evaluator can only be used with the official files; others are scored" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("vqa", "questions={part}.json", "--files: questions contains {part}"),
        ("gqa", "questions=own.jsonl", "--files: questions is own.jsonl: your own questions"),
    ],
)
def test_invalid_file_name_error_names_files_option(
    task: str, change: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert exit_status("eval", "scenes", str(tmp_path), "--task", task, "--files", change) == 1
    assert message in capsys.readouterr().err


def test_python_dash_m_lxmert_is_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lxmert", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert run("ask", "--help").stdout.startswith("Usage: python -m lxmert ask [OPTIONS]")
    failed = run("ask", "none.png", "What is this?")
    assert (failed.returncode, failed.stderr) == (1, "lxmert: error: none.png: no such image file\n")


@pytest.mark.parametrize("group", [[], ["answers"], ["features"], ["scenes"], ["score"]], ids=" ".join)
def test_help_shows_command_summaries_untruncated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    exit_status(*group, "--help")
    _, verbs = capsys.readouterr().out.split("Commands:")
    assert verbs.strip()
    assert "..." not in verbs


def test_os_error_names_file_and_cause(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    assert exit_status("demo", "--output", str(taken)) == 1
    assert capsys.readouterr().err == f"lxmert: error: {taken}: File exists\n"


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_interrupted_training_suggests_resume_if_checkpoint_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_checkpoint: bool
) -> None:
    if has_checkpoint:
        (tmp_path / "checkpoints" / "checkpoint-18").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), training_run(tmp_path):
        raise KeyboardInterrupt
    kept = f"a checkpoint is kept in {tmp_path}: run the same command with --resume to continue"
    assert capsys.readouterr().err == (f"lxmert: interrupted; {kept}\n" if has_checkpoint else "")


@pytest.mark.parametrize("interrupted", [False, True])
def test_training_run_leaves_process_group_unless_interrupted(tmp_path: Path, interrupted: bool) -> None:
    store = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        with suppress(KeyboardInterrupt), training_run(tmp_path):
            if interrupted:
                raise KeyboardInterrupt
        assert distributed.is_initialized() == interrupted  # Leaving might wait for the others.
    finally:
        leave_group()


@pytest.fixture
def _signal_handlers_restored() -> Iterator[None]:
    """Handlers of signals are again what they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)}
    yield
    assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signal_handlers_restored")
def test_sigterm_ends_training_like_ctrl_c_with_status_143(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, **__: object) -> None:
        (tmp_path / "checkpoints" / "checkpoint-18").mkdir(parents=True)
        batches = iter(DataLoader(range(100), num_workers=1))  # type: ignore[arg-type]
        next(batches)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            # A scheduler tells all processes of a job.
            worker = batches._workers[0].pid  # type: ignore[attr-defined]
            subprocess.run(["kill", str(worker)], check=True)
            time.sleep(1)

    def send_second_sigterm() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    monkeypatch.setattr(running, "pretrain", train)
    monkeypatch.setattr("lxmert.training.running.is_main_process", send_second_sigterm)
    assert exit_status("pretrain", "--config", "scenes_pretrain", "-o", tmp_path) == 143
    expected = f"lxmert: interrupted; a checkpoint is kept in {tmp_path}"
    expected += ": run the same command with --resume to continue"
    assert capsys.readouterr().err.strip() == expected


@pytest.mark.usefixtures("_signal_handlers_restored")
def test_forked_process_ends_at_sigterm_without_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def work(*_: object, **__: object) -> None:
        begun = multiprocessing.Event()
        forked = multiprocessing.get_context("fork").Process(target=lambda: begun.set() or time.sleep(10))
        forked.start()
        begun.wait()
        forked.terminate()
        forked.join()
        assert forked.exitcode == 143

    monkeypatch.setattr(main, "app", work)
    main.main([])
    assert capfd.readouterr().err == ""


def test_main_works_in_threads_and_keeps_custom_sigterm_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ThreadPoolExecutor() as threads:
        assert threads.submit(exit_status, "score", "--help").result() == 0

    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        handlers = []
        monkeypatch.setattr(main, "app", lambda *_, **__: handlers.append(signal.getsignal(signal.SIGTERM)))
        main.main([])
        assert handlers == [own]
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)

"""`lxmert predict`: answers of the plain model, interrupted and resumed runs, several processes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.data.feature_store import FeatureStore
from lxmert.data.task_dataset import TargetKind, TaskCollator, TaskDataset
from lxmert.data.task_examples import Purpose
from lxmert.inference import bulk_examples, bulk_sources
from lxmert.inference.bulk_journal import AnswerJournal
from lxmert.inference.bulk_packing import WindowLimits
from lxmert.inference.ranks import Ranks
from lxmert.training.evaluation import load_regions, run_model
from lxmert.training.task_registry import get_task
from tests.command_line import CommandLine
from tests.training.prediction.predicting import Predict, write_stores

COMMAND = [sys.executable, "-m", "lxmert.cli.main"]
TASKS = ["vqa", "gqa", "nlvr2"]


def plain_labels(task: str, folder: Path, data: Path) -> list[int]:
    """The answers of one example at a time, from features to scores in one go."""
    kind = get_task(task)
    model = kind.model_class.from_pretrained(folder).eval()
    processor = LxmertProcessor.from_pretrained(folder)
    examples = kind.split(data, "test").read()
    regions = load_regions(examples, processor, None)
    targets = [(0, {})] * len(examples)
    dataset = TaskDataset(
        examples.examples,
        targets,  # type: ignore[arg-type]
        processor.tokenizer,
        processor.max_text_length,
        regions,
    )
    collate = TaskCollator(regions, processor.tokenizer.pad_token_id, 1, TargetKind.CLASS)
    labels = []
    for place in range(len(dataset)):
        batch = collate([dataset[place]])
        del batch["labels"]
        with torch.no_grad():
            labels.append(int(model(**batch, return_dict=False)[0].argmax()))
    return labels


@pytest.mark.parametrize("task", TASKS)
def test_batched_answers_equal_those_of_one_example_at_a_time(
    task: str, model_of: Callable[[str], Path], scenes_folder: Path
) -> None:
    folder, kind = model_of(task), get_task(task)
    expected = plain_labels(task, folder, scenes_folder)
    examples = kind.split(scenes_folder, "test").read()
    for batch_size in (None, 3):
        model = kind.model_class.from_pretrained(folder)
        labels = run_model(model, LxmertProcessor.from_pretrained(folder), examples, batch_size=batch_size)
        assert labels == expected
    assert len(set(expected)) > 1


def test_missing_folders_of_output_are_created_and_a_folder_is_refused(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--limit", 3, "-o"]
    output = tmp_path / "new" / "folder" / "answers.json"
    assert predict(*words, output)[0] == 0
    assert len(json.loads(output.read_text())) == 3
    status, _, err = predict(*words, output.parent)
    assert (status, err) == (1, f"lxmert: error: {output.parent} cannot be written: it is a folder\n")
    status, _, err = predict(*words, output / "more" / "answers.json")
    assert (status, f"{output} is not a folder that you may write to" in err) == (1, True)


@pytest.mark.parametrize("task", TASKS)
def test_interrupted_run_continues_to_identical_file(
    task: str,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    words = [model_of(task), scenes_folder, "-q", "--task", task, "--split", "train", "--batch-size", 5, "-o"]
    assert predict(*words, tmp_path / "whole")[0] == 0
    total = sum(answered_batch_sizes)
    assert len(answered_batch_sizes) > 8
    with interrupted_after(7):
        status, out, err = predict(*words, tmp_path / "parts")
    assert (status, out) == (130, "")
    journal = tmp_path / "parts.journal"
    kept = f"the answers so far are kept in {journal}"
    assert err == f"lxmert: interrupted; {kept}: run the same command again to continue\n"
    before = sum(answered_batch_sizes)
    assert not (tmp_path / "parts").exists()
    status, out, _ = predict(*words, tmp_path / "parts")
    assert status == 0
    # Not one question is asked twice, but for equal ones, which are asked once in both.
    assert sum(answered_batch_sizes) == total
    asked = get_task(task).split(scenes_folder, "train", purpose=Purpose.PREDICTION).read()
    assert out.startswith(f"{tmp_path / 'parts'}: {len(asked):,} predictions in float32, ")
    assert out.endswith(" of them from an earlier run\n")
    assert before < total
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not journal.exists()


def test_killed_run_continues_without_loss_or_repetition(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--batch-size", "1", "--split", "train", "-o"]
    assert predict(*words, tmp_path / "whole.json")[0] == 0
    total = sum(answered_batch_sizes)
    run = subprocess.Popen(
        [*COMMAND, "predict", *map(str, words), str(tmp_path / "parts.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    journal = tmp_path / "parts.json.journal" / "rank-00000.jsonl"
    deadline = time.monotonic() + 500
    while (journal.read_bytes().count(b"\n") if journal.exists() else 0) < 20:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    # Without the two header lines: the run, and its precision.
    before = journal.read_bytes().count(b"\n") - 2
    assert before < total, "the run was over before it was killed"
    answered_batch_sizes.clear()
    status, _, err = predict(*words, tmp_path / "parts.json")
    assert status == 0, err
    assert sum(answered_batch_sizes) == total - before
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not journal.parent.exists()


def test_resumed_run_extracts_features_only_of_remaining_images(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extracted: list[str] = []
    extract_region_table = bulk_sources.extract_region_table

    def recording_extract(files: dict[str, Any], extractor: Any) -> Any:
        if len(extracted) == 2 and "stop" in flags:
            raise KeyboardInterrupt
        extracted.extend(files)
        return extract_region_table(files, extractor)

    monkeypatch.setattr(bulk_examples, "EXTRACTION_WINDOW", WindowLimits(images=1))
    monkeypatch.setattr(bulk_sources, "extract_region_table", recording_extract)
    flags = ["stop"]
    command = [model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "parts.json"]
    assert predict(*command)[0] == 130
    assert len(extracted) == 2
    flags.clear()
    assert predict(*command)[0] == 0
    images = get_task("vqa").split(scenes_folder, "test").read().image_names()
    assert extracted == images
    assert len(images) > 3


@pytest.mark.parametrize("change", ["--dtype", "--limit", "--batch-size", "weights", "questions"])
def test_journal_of_another_run_is_rejected_without_overwrite(
    change: str,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, data, output = tmp_path / "model", tmp_path / "data", tmp_path / "out.json"
    shutil.copytree(model_of("vqa"), folder)
    shutil.copytree(scenes_folder, data)
    words = [folder, data, "-q", "-o", output, "--dtype", "float32"]
    with monkeypatch.context() as patch:
        patch.setattr("lxmert.training.prediction.AnswerJournal.remove", lambda journal: None)
        assert predict(*words)[0] == 0
    output.unlink()
    journal = next((tmp_path / "out.json.journal").glob("*.jsonl"))
    held = journal.read_bytes()
    options: list[object] = []
    differs = "settings"
    if change == "weights":
        model = LxmertForQuestionAnswering.from_pretrained(folder)
        with torch.no_grad():
            model.lxmert.pooler.dense.bias[3] += 1
        model.save_pretrained(folder)
        differs = "weights"
    elif change == "questions":
        path = data / "annotations" / "vqa_test_questions.json"
        content = json.loads(path.read_text())
        content["questions"][5]["question"] = "what is blue?"
        path.write_text(json.dumps(content))
        differs = "questions"
    else:
        options = {"--dtype": ["--dtype", "bfloat16"], "--limit": ["--limit", 7]}.get(change, [change, 64])
        differs = "questions, images" if change == "--limit" else "settings"
    answered_batch_sizes.clear()
    status, _, err = predict(*words, *options)
    assert status == 1
    assert f"contains the answers of another run ({differs}); finish that run first, or start" in err
    assert err.splitlines()[-1].startswith("lxmert: error: ")
    assert answered_batch_sizes == []
    assert journal.read_bytes() == held
    assert not output.exists()
    assert predict(*words, *options, "--overwrite")[0] == 0
    assert sum(answered_batch_sizes) > 0
    assert output.exists()


def test_feature_store_is_opened_only_once(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"))
    opened: list[str] = []
    opening = FeatureStore.__init__

    def noted(self: FeatureStore, path: str | Path) -> None:
        opened.append(str(path))
        opening(self, path)

    monkeypatch.setattr(FeatureStore, "__init__", noted)
    words = [model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "out.json", "--features", store]
    assert predict(*words)[0] == 0
    assert opened == [str(store)]


def test_stored_features_need_no_detector(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"))
    model = shutil.copytree(model_of("vqa"), tmp_path / "model")
    file = model / "processor_config.json"
    settings = json.loads(file.read_text())
    settings["extractor"] = {"kind": "faster_rcnn", "detector": "../gone"}
    file.write_text(json.dumps(settings))
    run = CommandLine(capsys).run
    stored = [scenes_folder, "--features", store]
    assert run("predict", model, *stored, "-q", "-o", tmp_path / "out.json")[0] == 0
    assert run("eval", model, *stored, "--json")[0] == 0
    status, _, err = run("predict", model, scenes_folder, "-q", "-o", tmp_path / "looked.json")
    assert status == 1
    assert "unknown detector '../gone'" in err
    settings["extractor_identity"] = "another"  # Only the detector itself can tell then.
    file.write_text(json.dumps(settings))
    status, _, err = run("eval", model, *stored, "--json")
    assert status == 1
    assert "unknown detector '../gone'" in err


def test_imported_tsv_features_are_accepted_with_extractor_name_from_error(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"))
    original, run = tmp_path / "original.tsv", CommandLine(capsys).run
    assert run("features", "export", store, original, "-q")[0] == 0
    assert run("features", "import", original, "-o", tmp_path / "nameless", "-q")[0] == 0
    status, _, err = run(
        "eval", model_of("vqa"), scenes_folder, "--features", tmp_path / "nameless", "--json"
    )
    assert (status, "was made by imported-tsv" in err) == (1, True), err
    name = re.search("expected (.*): extract.*--extractor-name", err)[1]
    assert (
        run("features", "import", original, "-o", tmp_path / "named", "--extractor-name", name, "-q")[0] == 0
    )
    stored = [model_of("vqa"), scenes_folder, "--json", "--features"]
    assert run("eval", *stored, tmp_path / "named")[:2] == run("eval", *stored, store)[:2]


def test_journal_of_other_features_is_rejected(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    stores = write_stores(tmp_path, scenes_folder, model_of("vqa"), (1.0, 0.5))
    words = [model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "out.json", "--batch-size", 2]
    with interrupted_after(2):
        assert predict(*words, "--features", stores[0])[0] == 130
    status, _, err = predict(*words, "--features", stores[1])
    assert status == 1
    assert "contains the answers of another run (features); finish that run first" in err
    moved = shutil.copytree(stores[0], tmp_path / "moved")
    assert predict(*words, "--features", moved)[0] == 0


def test_rerun_after_failed_write_writes_file_from_journal(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*more: object) -> Iterator[None]:
        raise OSError("No space left on device")

    words = [model_of("nlvr2"), scenes_folder, "-q", "-o", tmp_path / "out.csv"]
    with monkeypatch.context() as patch:
        patch.setattr("lxmert.training.nlvr2_task.write_nlvr2_submission", full)
        status, _, err = predict(*words)
    assert status == 1
    assert "No space left" in err
    answered_batch_sizes.clear()
    status, out, _ = predict(*words)
    assert (status, answered_batch_sizes) == (0, [])
    assert "of them from an earlier run" in out
    assert (tmp_path / "out.csv").read_text().count("\n") == len(
        get_task("nlvr2").split(scenes_folder, "test").read()
    )


def test_journal_is_removed_only_after_output_is_synced_to_disk(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out.csv"
    synced: set[int] = set()
    gone: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(AnswerJournal, "remove", lambda journal: gone.append(output.stat().st_ino in synced))
    assert predict(model_of("nlvr2"), scenes_folder, "-q", "-o", output)[0] == 0
    assert gone == [True]


def test_existing_output_is_replaced_only_with_overwrite(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    output = tmp_path / "out.json"
    output.write_text("precious")
    words = [model_of("vqa"), scenes_folder, "-q", "--batch-size", 2, "-o", output]
    status, out, err = predict(*words)
    assert (status, out, answered_batch_sizes) == (1, "", [])
    assert f"{output} already exists; use --overwrite to replace it, or choose another name" in err
    assert not Path(f"{output}.journal").exists()
    with interrupted_after(3):
        status, _, err = predict(*words, "--overwrite")
    assert status == 130
    assert err.endswith(f"kept in {output}.journal: run the same command without --overwrite to continue\n")
    assert output.read_text() == "precious"
    status, out, err = predict(*words)  # Replacing it was allowed when the run began.
    assert status == 0, err
    assert "of them from an earlier run" in out
    assert len(json.loads(output.read_text())) > 3
    assert predict(*words)[0] == 1
    answered_batch_sizes.clear()
    assert predict(*words, "--overwrite")[0] == 0
    assert answered_batch_sizes


def test_journal_without_answers_permits_only_its_own_run_to_replace_the_file(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    output = tmp_path / "out.json"
    output.write_text("precious")
    words = [model_of("vqa"), scenes_folder, "-q", "-o", output]
    with interrupted_after(0):
        assert predict(*words, "--overwrite")[0] == 130
    for _ in range(2):
        status, _, err = predict(*words, "--split", "val")
        assert (status, f"{output} already exists; use --overwrite to replace it" in err) == (1, True), err
        assert output.read_text() == "precious"
    assert predict(*words)[0] == 0
    assert output.read_text() != "precious"


def test_processes_of_a_launcher_share_the_questions_and_write_one_file(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [model_of("nlvr2"), scenes_folder, "--split", "train", "-q", "-o"]
    assert predict(*words, tmp_path / "alone.csv")[0] == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    runs = [
        subprocess.Popen(
            [*COMMAND, "predict", *map(str, words), str(tmp_path / "shared.csv")],
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [run.communicate(timeout=500) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    lines = (tmp_path / "alone.csv").read_text().splitlines()
    assert outputs[0][0] == f"{tmp_path / 'shared.csv'}: {len(lines):,} predictions in float32\n"
    assert outputs[1][0] == ""
    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert not (tmp_path / "shared.csv.journal").exists()


def test_last_of_unconnected_processes_writes_the_file(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [model_of("gqa"), scenes_folder, "-q", "--task", "gqa", "--split", "train", "-o"]
    assert predict(*words, tmp_path / "alone.json")[0] == 0
    total = sum(answered_batch_sizes)
    answered_batch_sizes.clear()
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in ("1", "0", "2"):
        monkeypatch.setenv("RANK", rank)
        answered_batch_sizes.clear()
        status, out, _ = predict(*words, tmp_path / "out.json")
        assert status == 0
        shares.append(sum(answered_batch_sizes))
        assert (tmp_path / "out.json").exists() == (rank == "2")
        share = rf"not written yet, [\d,]+ answers in float32 by rank {rank} of 3"
        assert re.search(r": [\d,]+ predictions in float32" if rank == "2" else share, out)
    assert total <= sum(shares) < 1.1 * total  # Equal questions may fall to two of them.
    assert max(shares) < 0.5 * total
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "alone.json").read_bytes()


def test_unreadable_answers_of_a_single_process_are_an_error(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AnswerJournal, "read", lambda journal: {0: 1})
    output = tmp_path / "out.json"
    status, out, err = predict(model_of("vqa"), scenes_folder, "-q", "--limit", 3, "-o", output)
    assert (status, out) == (1, "")
    assert "out.json.journal has 1 of 3 answers; check the disk, and run the same command again" in err
    assert not output.exists()


def test_processes_without_shared_disk_get_error(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Ranks(0, 2, is_connected=True)
    monkeypatch.setattr(Ranks, "from_environment", lambda: first)
    monkeypatch.setattr(Ranks, "sum_over_ranks", lambda self, counts: list(counts))
    status, _, err = predict(model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "out.json")
    assert status == 1
    assert re.search(
        r"out.json.journal has \d+ of \d+ answers; make all processes write to the same disk", err
    )
    assert not (tmp_path / "out.json").exists()

"""`lxmert predict`: the answers of the plain path, killed and continued runs, several processes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.cli import task_models
from lxmert.data.collation import TargetKind, TaskCollator, TaskDataset
from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.task_examples import Purpose
from lxmert.inference import agreement, bulk_examples, fast_model
from lxmert.inference.agreement import Agreement
from lxmert.inference.bulk import BulkAnswerer
from lxmert.inference.bulk_examples import ExampleAnswerer, ModelSetup
from lxmert.inference.bulk_journal import AnswerJournal
from lxmert.inference.bulk_packing import Asked
from lxmert.inference.fast_model import FastModel
from lxmert.inference.ranks import Ranks
from lxmert.training.evaluation import regions_for, run_model
from lxmert.training.prediction import predict_to_file
from lxmert.training.preparation import prepare
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.task_list import task_named
from lxmert.vision.regions import Regions
from tests.command_line import CommandLine, status_of
from tests.inference.test_int8 import needs_int8
from tests.training.test_tasks import values_for

COMMAND = [sys.executable, "-m", "lxmert.cli.main"]
TASKS = ["vqa", "gqa", "nlvr2"]

Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def model_of(models: Path, tiny_values: dict[str, Any]) -> Callable[[str], Path]:
    """Makes the folder of an untrained model of a task, once."""

    def make(task: str) -> Path:
        folder = models / task
        if not folder.exists():
            torch.manual_seed(4)
            prepared = prepare(task_named(task), FinetuneRecipe.from_dict(values_for(task, tiny_values)))
            with torch.no_grad():  # Else an untrained model says the same of everything.
                for name, weights in prepared.model.named_parameters():
                    if name.endswith("logit_fc.3.weight"):
                        weights.normal_()
            prepared.model.save_pretrained(folder)
            prepared.processor.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str]) -> Predict:
    def run(*words: object) -> tuple[int, str, str]:
        return CommandLine(capsys).run("predict", *words)

    return run


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions each batch of the model had."""
    batches: list[int] = []
    scores = FastModel.scores

    def counted(self: FastModel, words: Tensor, *others: Any) -> Tensor:
        batches.append(len(words))
        return scores(self, words, *others)

    monkeypatch.setattr(FastModel, "scores", counted)
    return batches


@pytest.fixture
def interrupted_after(
    answered: list[int], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], AbstractContextManager[None]]:
    """Interrupts the run within it once the model has had so many batches."""

    @contextmanager
    def interrupting(batches: int) -> Iterator[None]:
        scores = FastModel.scores

        def interrupted(self: FastModel, *inputs: Any) -> Tensor:
            if len(answered) == batches:
                raise KeyboardInterrupt
            return scores(self, *inputs)

        answered.clear()
        with monkeypatch.context() as patch:
            patch.setattr(FastModel, "scores", interrupted)
            yield

    return interrupting


def plain_labels(task: str, folder: Path, data: Path) -> list[int]:
    """The answers of one example at a time, from features to scores in one go."""
    kind = task_named(task)
    model = kind.model_class.from_pretrained(folder).eval()
    processor = LxmertProcessor.from_pretrained(folder)
    examples = kind.split(data, "test").read()
    regions = regions_for(examples, processor, None)
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
def test_answers_are_those_of_one_example_at_a_time(
    task: str, model_of: Callable[[str], Path], scenes_folder: Path
) -> None:
    folder, kind = model_of(task), task_named(task)
    expected = plain_labels(task, folder, scenes_folder)
    examples = kind.split(scenes_folder, "test").read()
    for batch_size in (None, 3):
        model = kind.model_class.from_pretrained(folder)
        labels, seconds = run_model(
            model, LxmertProcessor.from_pretrained(folder), examples, batch_size=batch_size
        )
        assert labels == expected
        assert seconds > 0
    assert len(set(expected)) > 1


@pytest.mark.parametrize("task", TASKS)
def test_an_interrupted_run_is_continued_to_the_very_same_file(
    task: str,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    words = [model_of(task), scenes_folder, "-q", "--task", task, "--split", "train", "--batch-size", 5, "-o"]
    assert predict(*words, tmp_path / "whole")[0] == 0
    total = sum(answered)
    assert len(answered) > 8
    with interrupted_after(7):
        status, out, err = predict(*words, tmp_path / "parts")
    assert (status, out) == (130, "")
    journal = tmp_path / "parts.journal"
    kept = f"what is answered is kept in {journal}"
    assert err == f"lxmert: interrupted; {kept}: run the same again to go on\n"
    before = sum(answered)
    assert not (tmp_path / "parts").exists()
    status, out, _ = predict(*words, tmp_path / "parts")
    assert status == 0
    # Not one question is asked twice, but for equal ones, which are asked once in both.
    assert sum(answered) == total
    asked = task_named(task).split(scenes_folder, "train", purpose=Purpose.PREDICTION).read()
    assert out.startswith(f"{tmp_path / 'parts'}: {len(asked):,} predictions in float32, ")
    assert out.endswith(" of them before\n")
    assert before < total
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not journal.exists()


def test_a_killed_run_is_continued_without_loss_or_repetition(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--batch-size", "1", "--split", "train", "-o"]
    assert predict(*words, tmp_path / "whole.json")[0] == 0
    total = sum(answered)
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
    before = journal.read_bytes().count(b"\n") - 2  # What run it is of, and what it answers in.
    assert before < total, "the run was over before it was killed"
    answered.clear()
    status, _, err = predict(*words, tmp_path / "parts.json")
    assert status == 0, err
    assert sum(answered) == total - before
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not journal.parent.exists()


def test_of_a_continued_run_only_what_is_left_is_looked_at(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lxmert.inference import bulk_examples, bulk_sources
    from lxmert.inference.bulk_packing import WindowLimits

    looked_at: list[str] = []
    look_at = bulk_sources.look_at

    def looking(files: dict[str, Any], extractor: Any) -> Any:
        if len(looked_at) == 2 and "stop" in words:
            raise KeyboardInterrupt
        looked_at.extend(files)
        return look_at(files, extractor)

    monkeypatch.setattr(bulk_examples, "LOOKING_WINDOW", WindowLimits(images=1))
    monkeypatch.setattr(bulk_sources, "look_at", looking)
    words = ["stop"]
    command = [model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "parts.json"]
    assert predict(*command)[0] == 130
    assert len(looked_at) == 2
    words.clear()
    assert predict(*command)[0] == 0
    images = task_named("vqa").split(scenes_folder, "test").read().image_names()
    assert looked_at == images
    assert len(images) > 3


@pytest.mark.parametrize("change", ["--dtype", "--limit", "--batch-size", "weights", "questions"])
def test_the_journal_of_another_run_is_refused_until_it_may_be_overwritten(
    change: str,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, data, output = tmp_path / "model", tmp_path / "data", tmp_path / "out.json"
    shutil.copytree(model_of("vqa"), folder)
    shutil.copytree(scenes_folder, data)
    words = [folder, data, "-q", "-o", output]
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
    answered.clear()
    status, _, err = predict(*words, *options)
    assert status == 1
    assert f"holds the answers of another run ({differs}); finish that one first, or begin" in err
    assert err.splitlines()[-1].startswith("lxmert: error: ")
    assert answered == []
    assert journal.read_bytes() == held
    assert not output.exists()
    assert predict(*words, *options, "--overwrite")[0] == 0
    assert sum(answered) > 0
    assert output.exists()


@pytest.mark.parametrize("change", ["folder", "boxes", "picture"])
def test_answers_about_other_pictures_are_those_of_another_run(
    change: str,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    data = shutil.copytree(scenes_folder, tmp_path / "data")
    shutil.copytree(data / "images" / "test", data / "others" / "test")
    instances = data / "annotations" / "instances_test.json"
    content = json.loads(instances.read_text())
    content["annotations"][0]["bbox"][2] += 1
    (data / "annotations" / "others.json").write_text(json.dumps(content))
    words = [model_of("vqa"), data, "-q", "-o", tmp_path / "out.json", "--batch-size", 2]
    with interrupted_after(2):
        assert predict(*words)[0] == 130
    options: list[object] = []
    if change == "picture":
        with next((data / "images" / "test").iterdir()).open("ab") as file:
            file.write(b" ")
    else:
        options = [
            "--files",
            "images=others/{split}" if change == "folder" else "instances=annotations/others.json",
        ]
    status, _, err = predict(*words, *options)
    assert status == 1
    assert "holds the answers of another run (images); finish that one first" in err


def write_stores(folder: Path, data: Path, model: Path, scales: Sequence[float]) -> list[Path]:
    """Feature stores of the test images, their features multiplied by a scale each."""
    examples = task_named("vqa").split(data, "test").read()
    found = regions_for(examples, LxmertProcessor.from_pretrained(model), None)
    batch = found.batch(torch.arange(len(found.rows)))
    stores = []
    for number, scale in enumerate(scales):
        stores.append(folder / f"store-{number}")
        manifest = StoreManifest(found.feature_dim, "float32", found.extractor)
        with FeatureStoreWriter(stores[-1], manifest) as writer:
            for name, row in found.rows.items():
                count = int(batch["visual_attention_mask"][row].sum())
                boxes, features = (batch[key][row, :count] for key in ("visual_pos", "visual_feats"))
                writer.add(str(name), Regions(boxes * 90, features * scale, (90, 90), found.extractor))
    return stores


def test_a_store_is_opened_once_so_that_the_journal_is_of_what_is_answered(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"), [1.0])
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
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"), [1.0])
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
    assert "no detector '../gone'" in err
    settings["extractor_identity"] = "another"  # Only the detector itself can tell then.
    file.write_text(json.dumps(settings))
    status, _, err = run("eval", model, *stored, "--json")
    assert status == 1
    assert "no detector '../gone'" in err


def test_features_of_an_original_file_are_taken_under_the_name_that_the_refusal_tells(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"), [1.0])
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


def test_answers_about_other_features_are_those_of_another_run(
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
    assert "holds the answers of another run (features); finish that one first" in err
    moved = shutil.copytree(stores[0], tmp_path / "moved")
    assert predict(*words, "--features", moved)[0] == 0


def test_a_run_that_ended_before_its_file_was_written_writes_it(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
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
    answered.clear()
    status, out, _ = predict(*words)
    assert (status, answered) == (0, [])
    assert "of them before" in out
    assert (tmp_path / "out.csv").read_text().count("\n") == len(
        task_named("nlvr2").split(scenes_folder, "test").read()
    )


def test_the_journal_goes_when_the_file_is_on_the_disk(
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


def test_a_finished_file_is_replaced_only_where_that_is_allowed(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    output = tmp_path / "out.json"
    output.write_text("precious")
    words = [model_of("vqa"), scenes_folder, "-q", "--batch-size", 2, "-o", output]
    status, out, err = predict(*words)
    assert (status, out, answered) == (1, "", [])
    assert f"{output} is there already; give --overwrite to replace it, or another name" in err
    assert not Path(f"{output}.journal").exists()
    with interrupted_after(3):
        status, _, err = predict(*words, "--overwrite")
    assert status == 130
    assert err.endswith(f"kept in {output}.journal: the same without --overwrite goes on\n")
    assert output.read_text() == "precious"
    status, out, err = predict(*words)  # Replacing it was allowed when the run began.
    assert status == 0, err
    assert "of them before" in out
    assert len(json.loads(output.read_text())) > 3
    assert predict(*words)[0] == 1
    answered.clear()
    assert predict(*words, "--overwrite")[0] == 0
    assert answered


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
    told = [run.communicate(timeout=500) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    lines = (tmp_path / "alone.csv").read_text().splitlines()
    assert told[0][0] == f"{tmp_path / 'shared.csv'}: {len(lines):,} predictions in float32\n"
    assert told[1][0] == ""
    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert not (tmp_path / "shared.csv.journal").exists()


def test_processes_that_cannot_reach_one_another_leave_the_file_to_the_last(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [model_of("gqa"), scenes_folder, "-q", "--task", "gqa", "--split", "train", "-o"]
    assert predict(*words, tmp_path / "alone.json")[0] == 0
    total = sum(answered)
    answered.clear()
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in ("1", "0", "2"):
        monkeypatch.setenv("RANK", rank)
        answered.clear()
        status, out, _ = predict(*words, tmp_path / "out.json")
        assert status == 0
        shares.append(sum(answered))
        assert (tmp_path / "out.json").exists() == (rank == "2")
        share = rf"not written yet, [\d,]+ answers in float32 by rank {rank} of 3"
        assert re.search(r": [\d,]+ predictions in float32" if rank == "2" else share, out)
    assert total <= sum(shares) < 1.1 * total  # Equal questions may fall to two of them.
    assert max(shares) < 0.5 * total
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "alone.json").read_bytes()


def test_processes_that_share_no_disk_are_told(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Ranks(0, 2, is_connected=True)
    monkeypatch.setattr(Ranks, "from_environment", lambda: first)
    monkeypatch.setattr(Ranks, "total", lambda self, counts: list(counts))
    status, _, err = predict(model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "out.json")
    assert status == 1
    assert re.search(
        r"out.json.journal holds \d+ of \d+ answers; let all processes write to the same disk", err
    )
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_precisions_answer_alike(
    dtype: str, model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "-o"]
    assert predict(*words, tmp_path / "exact.json", "--dtype", "float32")[0] == 0
    status, out, _ = predict(*words, tmp_path / "other.json", "--dtype", dtype)
    assert status == 0
    assert out.endswith(f" predictions in {dtype}\n")
    exact, other = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("exact", "other"))
    alike = sum(one == another for one, another in zip(exact, other, strict=True))
    assert alike / len(exact) > 0.8


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Agreement]:
    """What was found of bfloat16 so far; on any machine, and in works that are small for it."""
    found: list[Agreement] = []

    def comparing(*given: Any) -> Agreement:
        found.append(agreement.compare(*given))
        return found[-1]

    monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(agreement, "LEAST_EXAMPLES_LOOKING", 300)
    monkeypatch.setattr(agreement, "LEAST_WIDTH", 1)
    monkeypatch.setattr(bulk_examples, "compare", comparing)
    return found


@pytest.fixture
def close_calls(model_of: Callable[[str], Path], models: Path) -> Path:
    """The folder of a model whose answers bfloat16 cannot tell apart."""
    folder = models / "close-calls"
    if not folder.exists():
        shutil.copytree(model_of("vqa"), folder)
        model = LxmertForQuestionAnswering.from_pretrained(folder)
        torch.manual_seed(7)
        weights = model.answer_head.logit_fc[3].weight
        with torch.no_grad():
            weights.copy_(1 + 1e-3 * torch.randn_like(weights))
        model.save_pretrained(folder)
    return folder


@pytest.fixture(params=["bfloat16", "float32"])
def chosen(request: pytest.FixtureRequest) -> str:
    """The precision that a comparison chooses for `compared_model`."""
    return str(request.param)


@pytest.fixture
def compared_model(chosen: str, model_of: Callable[[str], Path], close_calls: Path) -> Path:
    """The folder of a model that answers in bfloat16 as in float32, or of one that does not."""
    return model_of("vqa") if chosen == "bfloat16" else close_calls


def test_how_many_answers_agree_chooses_the_precision(
    chosen: str,
    compared_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    compared: list[Agreement],
) -> None:
    words = [compared_model, scenes_folder, "-q", "--split", "train", "-o"]
    status, out, err = predict(*words, tmp_path / "auto.json")
    assert (status, out) == (0, f"{tmp_path / 'auto.json'}: 640 predictions in {chosen}\n")
    (found,) = compared
    assert found.compared == 64
    if chosen == "bfloat16":
        assert (found.agreed >= 63, err) == (True, "")
    else:
        assert found.agreed < 32
        told = f"note: bfloat16 answers {found.agreed} of 64 questions as float32 does (98 % are asked for)"
        assert err == f"{told}, so it stays float32; --dtype bfloat16 insists\n"
    asked = sum(answered)
    answered.clear()
    # A precision that is asked for is taken, without a comparison and to the same answers.
    assert predict(*words, tmp_path / "asked.json", "--dtype", chosen)[0] == 0
    assert sum(answered) == asked - 2 * 64
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "asked.json").read_bytes()
    status, out, err = predict(*words, tmp_path / "insisted.json", "--dtype", "bfloat16")
    assert (status, err) == (0, "")
    assert out.endswith(" predictions in bfloat16\n")
    assert len(compared) == 1
    is_same = (tmp_path / "insisted.json").read_bytes() == (tmp_path / "auto.json").read_bytes()
    assert is_same == (chosen == "bfloat16")


def test_reading_and_tokenising_are_shown_before_the_first_answer(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.data.task_split._LARGE_MEGABYTES", 0)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    shown: list[str] = []

    def progress(description: str, total: int) -> Callable[[int], None]:
        shown.append(description)
        return lambda done: None

    output = tmp_path / "out.json"
    predict_to_file(model, processor, scenes_folder, "test", output, task="vqa", progress=progress)
    assert "Reading vqa_test_questions.json (MB)" in shown[:-2]
    assert shown[-2:] == ["Tokenising", "Answering test questions in float32"]


@pytest.mark.parametrize("reason", ["small", "no units"])
def test_where_comparing_cannot_pay_answers_stay_exact(
    reason: str,
    close_calls: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    compared: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [close_calls, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "auto.json"]
    if reason == "small":
        words += ["--limit", 299]
    else:
        monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.float32)
    status, out, err = predict(*words)
    assert (status, err, compared) == (0, "", [])
    assert out.endswith(" predictions in float32\n")
    assert predict(*words, "--dtype", "float32", "-o", tmp_path / "exact.json")[0] == 0
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "exact.json").read_bytes()


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves compiling out, which takes minutes and changes no answer, and GPUs, which have no 8 bits."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(fast_model, "CompiledPart", lambda part, *told: part)


@needs_int8
@pytest.mark.usefixtures("not_compiled", "compared")
def test_8_bits_are_taken_and_how_well_they_agree_is_told(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "--batch-size", 5, "-o"]
    int8 = ["--dtype", "int8", "--compile"]
    assert predict(*words, tmp_path / "exact.json", "--dtype", "float32")[0] == 0
    of_answers = len(answered)
    answered.clear()
    status, out, err = predict(*words, tmp_path / "whole.json", *int8)
    assert (status, out) == (0, f"{tmp_path / 'whole.json'}: 640 predictions in int8\n")
    of_comparison = len(answered) - of_answers
    assert of_comparison > 0
    told = re.fullmatch(r"note: int8 answers (\d+) of 64 questions as float32 does\n", err)
    assert told is not None, err
    assert 63 <= int(told[1]) <= 64
    exact, rounded = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("exact", "whole"))
    alike = sum(one == other for one, other in zip(exact, rounded, strict=True))
    assert 0.9 * len(exact) < alike < len(exact), "8 bits change some close calls of an untrained model"
    # An interrupted run is not compared anew.
    with interrupted_after(of_comparison + 9):
        assert predict(*words, tmp_path / "parts.json", *int8)[0] == 130
    status, _, refused = predict(*words, tmp_path / "parts.json", "--dtype", "float32", "--compile")
    assert (status, "settings" in refused) == (1, True), refused
    answered.clear()
    status, _, again = predict(*words, tmp_path / "parts.json", *int8)
    assert (status, again) == (0, err)
    assert len(answered) == of_answers - 9
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@needs_int8
@pytest.mark.usefixtures("not_compiled", "compared")
def test_of_a_small_work_8_bits_are_not_compared(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "--limit", 299]
    status, out, err = predict(*words, "-o", tmp_path / "out.json", "--dtype", "int8", "--compile")
    assert (status, err) == (0, "")
    assert out.endswith(" predictions in int8\n")


@needs_int8
@pytest.mark.usefixtures("not_compiled")
def test_scored_answers_in_8_bits_are_called_so(
    model_of: Callable[[str], Path], scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = status_of(
        "eval", str(model_of("vqa")), str(scenes_folder), "--dtype", "int8", "--compile", "--json"
    )
    assert status == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == "int8"


@needs_int8
@pytest.mark.usefixtures("not_compiled", "compared")
def test_8_bits_that_do_not_agree_are_told_of(
    close_calls: Path, scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [close_calls, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    status, out, err = predict(*words, "--dtype", "int8", "--compile")
    assert (status, out.endswith(" predictions in int8\n")) == (0, True)
    assert re.fullmatch(
        r"note: int8 answers [12]?\d of 64 questions as float32 does \(98 % are asked for of bfloat16\)\n",
        err,
    )


@pytest.mark.usefixtures("not_compiled")
def test_8_bits_that_are_not_compiled_are_refused_before_anything_is_done(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
) -> None:
    status, _, err = predict(model_of("vqa"), scenes_folder, "-o", tmp_path / "out.json", "--dtype", "int8")
    assert (status, answered, list(tmp_path.iterdir())) == (1, [], [])
    assert "int8 is for compiled models on a CPU" in err


def test_of_a_store_fewer_questions_are_enough_to_compare(
    model_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.bfloat16)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    assert not agreement.is_worth_comparing(model, 10**6, looks_at_images=False)  # Too narrow to gain by it.
    monkeypatch.setattr(agreement, "LEAST_WIDTH", model.config.hidden_size)
    for examples, stored, looked_at in [(255, False, False), (256, True, False), (4096, True, True)]:
        assert agreement.is_worth_comparing(model, examples, looks_at_images=False) == stored
        assert agreement.is_worth_comparing(model, examples, looks_at_images=True) == looked_at


def test_a_continued_run_keeps_to_its_precision_wherever_it_goes_on(
    chosen: str,
    compared_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered: list[int],
    compared: list[Agreement],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [compared_model, scenes_folder, "-q", "--split", "train", "--batch-size", 5, "-o"]
    assert predict(*words, tmp_path / "whole.json")[0] == 0
    total, of_comparison = len(answered), len(answered)
    assert predict(*words, tmp_path / "asked.json", "--dtype", chosen)[0] == 0
    of_comparison -= len(answered) - total
    compared.clear()
    with interrupted_after(of_comparison - 3):
        assert predict(*words, tmp_path / "parts.json")[0] == 130
    assert compared == []  # It had not come to an end: all of it is done again.
    with interrupted_after(of_comparison + 9):
        assert predict(*words, tmp_path / "parts.json")[0] == 130
    assert len(compared) == 1
    # The device that it goes on with would have chosen otherwise, or compares anew.
    units = torch.float32 if chosen == "bfloat16" else torch.bfloat16
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: units)
    answered.clear()
    status, out, _ = predict(*words, tmp_path / "parts.json")
    assert status == 0
    assert f" predictions in {chosen}, " in out
    assert len(answered) == total - of_comparison - 9
    assert len(compared) == 1
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert (tmp_path / "asked.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_processes_that_cannot_reach_one_another_answer_in_the_same_precision(
    close_calls: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    compared: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [close_calls, scenes_folder, "-q", "--split", "train", "-o"]
    assert predict(*words, tmp_path / "alone.json", "--dtype", "float32")[0] == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        status, out, err = predict(*words, tmp_path / "out.json")
        assert status == 0
        assert " in float32" in out
        assert "so it stays float32" in err
    assert len(compared) == 1, "the second took what the first had found"
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "alone.json").read_bytes()


@pytest.mark.parametrize(("of_the_first", "chosen"), [([63, 64], "bfloat16"), ([62, 64], "float32")])
def test_the_first_process_chooses_for_those_that_it_reaches(
    of_the_first: list[int],
    chosen: str,
    close_calls: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    compared: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[Any] = []
    load = task_models.load_task_model

    def loading(*given: Any, **named: Any) -> Any:
        loaded.append(load(*given, **named))
        return loaded[-1]

    def total(self: Ranks, counts: list[int]) -> list[int]:
        """What comes of all processes' numbers, where this one knows nothing of the first's."""
        return of_the_first if counts == [0, 0] else counts

    monkeypatch.setattr("lxmert.cli.predict.load_task_model", loading)
    monkeypatch.setattr(Ranks, "from_environment", lambda: Ranks(1, 2, is_connected=True))
    monkeypatch.setattr(Ranks, "total", total)
    words = [close_calls, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    assert predict(*words) == (0, "", "")
    assert compared == []
    assert loaded[0].dtype == chosen


def test_evaluation_chooses_as_prediction_does(
    close_calls: Path,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    compared: list[Agreement],
) -> None:
    for folder, chosen in ((close_calls, "float32"), (model_of("vqa"), "bfloat16")):
        model = LxmertForQuestionAnswering.from_pretrained(folder)
        kept = {name: weights.clone() for name, weights in model.state_dict().items()}
        processor = LxmertProcessor.from_pretrained(folder)
        examples = task_named("vqa").split(scenes_folder, "train").read()
        told: list[str] = []
        shown: list[str] = []

        def progress(description: str, total: int, shown: list[str] = shown) -> Callable[[int], None]:
            shown.append(f"{description}: {total}")
            return lambda done: None

        auto = ModelSetup("auto")
        labels, _ = run_model(model, processor, examples, (), None, auto, progress, told.append)
        assert shown == [
            f"Tokenising: {len(examples)}",
            "Comparing bfloat16 with float32: 128",
            f"Answering train questions in {chosen}: {len(examples)}",
        ]
        assert len(told) == (chosen == "float32")
        asked = LxmertForQuestionAnswering.from_pretrained(folder)
        assert labels == run_model(asked, processor, examples, setup=ModelSetup(chosen))[0]
        if chosen == "float32":  # Not a bit of the weights is lost.
            now = model.state_dict()
            assert now.keys() == kept.keys()
            assert all(torch.equal(now[name], weights) for name, weights in kept.items())
    assert len(compared) == 2


def test_a_model_that_nobody_has_settled_is_so_before_its_first_answer(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    compared: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "LEAST_EXAMPLES_LOOKING", 1)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    examples = task_named("vqa").split(scenes_folder, "test").read()
    answerer = ExampleAnswerer(model, processor, examples, setup=ModelSetup("auto"))
    assert answerer.dtype == "float32"
    answers = dict(zip(*next(answerer.answer(answerer.order)), strict=True))
    assert (answerer.dtype, len(compared)) == ("bfloat16", 1)
    asked = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    labels, _ = run_model(asked, processor, examples, setup=ModelSetup("bfloat16"))
    assert answers == {place: labels[place] for place in answers}


def test_the_first_different_questions_are_compared(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    compared: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows: list[list[Asked]] = []
    answer = BulkAnswerer.answer_in_order

    def answering(self: BulkAnswerer[int], window: list[Asked], advance: Callable[[int], None]) -> list[int]:
        windows.append(window)
        return answer(self, window, advance)

    monkeypatch.setattr(BulkAnswerer, "answer_in_order", answering)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    read = task_named("vqa").split(scenes_folder, "train").read()
    # Every example once more, and those about the same image far apart: neither changes what is compared.
    examples = replace(read, examples=[*read.examples[::2], *read.examples[1::2], *read.examples])
    ExampleAnswerer(model, processor, examples, setup=ModelSetup("auto")).agreement()
    names = list(dict.fromkeys(one.images for one in examples.examples))
    of_image = {name: [one.text for one in examples.examples if one.images == name] for name in names}
    different = [(text, name) for name in names for text in dict.fromkeys(of_image[name])]
    assert len(different) > 64
    expected = [(processor.tokenizer(text)["input_ids"], name) for text, name in different[:64]]
    assert [[(one.token_ids.tolist(), one.images) for one in window] for window in windows] == [expected] * 2
    assert [found.compared for found in compared] == [64]

"""Compiled answering by `lxmert predict` and `eval`: in 8 bits, and chosen for large splits."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from lxmert.data.joined_stores import open_stores
from lxmert.errors import ConfigurationError
from lxmert.inference import agreement
from lxmert.inference.agreement import Agreement
from lxmert.inference.bulk_examples import ExampleAnswerer
from lxmert.inference.fast_model import FastModel
from lxmert.inference.model_setup import ModelSetup
from lxmert.model import LxmertForQuestionAnswering
from lxmert.processing import LxmertProcessor
from lxmert.training.task_registry import get_task
from tests.command_line import exit_status
from tests.inference.test_int8 import needs_int8
from tests.training.prediction.predicting import Predict, RecordedProgress, write_stores


@needs_int8
@pytest.mark.usefixtures("no_compilation", "agreements")
def test_int8_is_used_when_given_and_its_agreement_is_reported(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "--batch-size", 5, "-o"]
    int8 = ["--dtype", "int8", "--compile"]
    assert predict(*words, tmp_path / "exact.json", "--dtype", "float32")[0] == 0
    of_answers = len(answered_batch_sizes)
    answered_batch_sizes.clear()
    status, out, err = predict(*words, tmp_path / "whole.json", *int8)
    assert (status, out) == (0, f"{tmp_path / 'whole.json'}: 640 predictions in int8\n")
    of_comparison = len(answered_batch_sizes) - of_answers
    assert of_comparison > 0
    note = re.fullmatch(
        r"note: int8 gives the same answer as float32 for (\d+) of 256 questions"
        r"( \(99\.5 % required by auto\))?\n",
        err,
    )
    assert note is not None, err
    assert 252 <= int(note[1]) <= 256
    assert (note[2] is None) == (int(note[1]) >= 255)
    exact, rounded = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("exact", "whole"))
    alike = sum(one == other for one, other in zip(exact, rounded, strict=True))
    assert 0.9 * len(exact) < alike < len(exact), "8 bits change some close calls of an untrained model"
    # An interrupted run is not compared anew.
    with interrupted_after(of_comparison + 9):
        assert predict(*words, tmp_path / "parts.json", *int8)[0] == 130
    status, _, refused = predict(*words, tmp_path / "parts.json", "--dtype", "float32", "--compile")
    assert (status, "settings" in refused) == (1, True), refused
    answered_batch_sizes.clear()
    status, _, again = predict(*words, tmp_path / "parts.json", *int8)
    assert (status, again) == (0, err)
    assert len(answered_batch_sizes) == of_answers - 9
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@needs_int8
@pytest.mark.usefixtures("no_compilation", "agreements")
def test_int8_is_not_compared_for_few_questions(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "--limit", 511]
    status, out, err = predict(*words, "-o", tmp_path / "out.json", "--dtype", "int8", "--compile")
    assert (status, err) == (0, "")
    assert out.endswith(" predictions in int8\n")


@needs_int8
@pytest.mark.usefixtures("no_compilation")
def test_eval_report_names_int8_as_dtype(
    model_of: Callable[[str], Path], scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = exit_status(
        "eval", str(model_of("vqa")), str(scenes_folder), "--dtype", "int8", "--compile", "--json"
    )
    assert status == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == "int8"


@needs_int8
@pytest.mark.usefixtures("no_compilation", "agreements")
def test_int8_with_low_agreement_prints_note(
    close_calls_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "MIN_HIDDEN_SIZE", 10**6)  # What is asked for is compared in any case.
    words = [close_calls_model, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    status, out, err = predict(*words, "--dtype", "int8", "--compile")
    assert (status, out.endswith(" predictions in int8\n")) == (0, True)
    assert re.fullmatch(
        r"note: int8 gives the same answer as float32 for \d of 256 questions "
        r"\(99\.5 % required by auto\)\n",
        err,
    )


@pytest.mark.usefixtures("no_compilation")
def test_int8_uncompiled_is_rejected_before_any_work(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
) -> None:
    words = [model_of("vqa"), scenes_folder, "-o", tmp_path / "out.json", "--dtype", "int8"]
    status, _, err = predict(*words, "--no-compile")
    assert (status, answered_batch_sizes, list(tmp_path.iterdir())) == (1, [], [])
    assert "int8 can only be used with compiled models on a CPU" in err


@pytest.fixture
def compiled_models(
    agreements: list[Agreement], no_compilation: None, monkeypatch: pytest.MonkeyPatch
) -> list[FastModel]:
    """The models compiled so far, in name only; by default for 600 questions."""
    models: list[FastModel] = []
    monkeypatch.setattr(FastModel, "warm_up", lambda fast, advance: models.append(fast))
    monkeypatch.setattr(agreement, "MIN_COMPILED_EXAMPLES_PER_THREAD", 600 / torch.get_num_threads())
    monkeypatch.setitem(agreement.MIN_AGREEMENT_PERCENT, "int8", 95)
    return models


@pytest.fixture
def large_split(model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path) -> list[object]:
    """The words for a split of 640 questions with its features."""
    (store,) = write_stores(tmp_path, scenes_folder, model_of("vqa"), split="train")
    return [scenes_folder, "-q", "--split", "train", "--features", store, "-o"]


@needs_int8
def test_auto_dtype_of_large_split_is_int8_where_it_agrees(
    large_split: list[object],
    model_of: Callable[[str], Path],
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    compiled_models: list[FastModel],
) -> None:
    words = [model_of("vqa"), *large_split]
    status, out, err = predict(*words, tmp_path / "auto.json")
    assert (status, out) == (0, f"{tmp_path / 'auto.json'}: 640 predictions in int8\n")
    (found,) = agreements
    assert (found.lower_dtype, found.compared) == ("int8", 256)
    assert err == (
        f"note: int8 gives the same answer as float32 for {found.agreed} of 256 questions; using int8 "
        "(--dtype float32 to override)\n"
    )
    assert len(compiled_models) == 1
    # A precision given by --dtype gives the same answers; 8 bits are compiled whatever the size.
    asked = [*words, tmp_path / "asked.json", "--dtype", "int8"]
    assert predict(*asked, "--limit", "1")[0] == 0
    assert (len(agreements), len(compiled_models)) == (1, 2)
    assert predict(*asked, "--overwrite")[0] == 0
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "asked.json").read_bytes()


@needs_int8
@pytest.mark.parametrize("reason", ["uncompiled", "compiled", "no compiler"])
def test_auto_dtype_of_large_split_without_int8_is_next_lowest(
    reason: str,
    large_split: list[object],
    model_of: Callable[[str], Path],
    close_calls_model: Path,
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    compiled_models: list[FastModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def warm_up(fast: FastModel, advance: object) -> None:
        if reason == "no compiler":
            raise ConfigurationError("there is no compiler")
        compiled_models.append(fast)
        required["int8"] = 100.1

    required = agreement.MIN_AGREEMENT_PERCENT
    monkeypatch.setattr(FastModel, "warm_up", warm_up)
    for folder, dtype in ((model_of("vqa"), "bfloat16"), (close_calls_model, "float32")):
        compiled_models.clear()
        agreements.clear()
        monkeypatch.setitem(required, "int8", 100.1 if reason == "uncompiled" else 0)
        status, out, err = predict(folder, *large_split, tmp_path / f"{dtype}.json")
        assert (status, out.endswith(f" 640 predictions in {dtype}\n")) == (0, True)
        note = "note: not answering in 8 bits: there is no compiler\n"
        assert err.startswith(note) == (reason == "no compiler")
        assert ("bfloat16 gives the same answer" in err) == (dtype == "float32")
        assert [found.lower_dtype for found in agreements][-1] == "bfloat16"
        assert len(compiled_models) == (reason == "compiled")
        asked = [folder, *large_split, tmp_path / f"asked-{dtype}.json", "--dtype", dtype]
        assert predict(*asked)[0] == 0
        auto, alone = ((tmp_path / f"{name}{dtype}.json").read_bytes() for name in ("", "asked-"))
        assert auto == alone, "the rejected 8 bits leave the weights as they were"


@needs_int8
def test_rejected_int8_is_reported_where_bfloat16_is_not_compared(
    large_split: list[object],
    model_of: Callable[[str], Path],
    tmp_path: Path,
    predict: Predict,
    compiled_models: list[FastModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.float32)
    monkeypatch.setitem(agreement.MIN_AGREEMENT_PERCENT, "int8", 100.1)
    status, out, err = predict(model_of("vqa"), *large_split, tmp_path / "out.json")
    assert (status, out.endswith(" 640 predictions in float32\n"), compiled_models) == (0, True, [])
    assert re.fullmatch(
        r"note: int8 gives the same answer as float32 for 2\d\d of 256 questions \(100\.1 % required\); "
        r"using float32 \(--dtype int8 to override\)\n",
        err,
    )


@pytest.mark.parametrize("reason", ["few", "extracted", "shared", "--no-compile", "float32", "bfloat16"])
def test_models_are_not_compiled_where_it_does_not_pay(
    reason: str,
    large_split: list[object],
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    compiled_models: list[FastModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [model_of("vqa"), *large_split, tmp_path / "out.json"]
    if reason == "few":
        words += ["--limit", 599]
    elif reason == "extracted":
        words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    elif reason == "shared":
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "0")
    else:
        words += [reason] if reason == "--no-compile" else ["--dtype", reason]
    status, out, err = predict(*words)
    assert (status, err, compiled_models) == (0, "", [])
    assert f" in {'float32' if reason == 'float32' else 'bfloat16'}" in out
    assert "int8" not in [found.lower_dtype for found in agreements]


@needs_int8
def test_resumed_run_stays_in_int8_with_more_threads(
    large_split: list[object],
    model_of: Callable[[str], Path],
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    compiled_models: list[FastModel],
    answered_batch_sizes: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [model_of("vqa"), *large_split, tmp_path / "out.json", "--batch-size", 5]
    assert predict(*words)[0] == 0
    whole = (tmp_path / "out.json").read_bytes()
    (tmp_path / "out.json").unlink()
    with interrupted_after(len(answered_batch_sizes) - 5):
        assert predict(*words)[0] == 130
    agreements.clear()
    compiled_models.clear()
    # With so many threads a new run would not be compiled, and so not compared in 8 bits.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10**6)
    status, out, _ = predict(*words)
    assert (status, agreements, len(compiled_models)) == (0, [], 1)
    assert " predictions in int8, " in out
    assert (tmp_path / "out.json").read_bytes() == whole


def test_run_whose_compilation_failed_before_first_answer_is_repeated_without(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(fast: FastModel, advance: object) -> None:
        raise ConfigurationError("there is no compiler")

    monkeypatch.setattr(FastModel, "warm_up", fail)
    words = [model_of("vqa"), scenes_folder, "-q", "-o", tmp_path / "out.json"]
    status, _, err = predict(*words, "--compile")
    assert (status, "there is no compiler" in err) == (1, True)
    assert predict(*words, "--no-compile")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.usefixtures("no_compilation")
def test_explicit_dtypes_continue_with_compilation_that_is_their_default(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    interrupted_after: Callable[[int], AbstractContextManager[None]],
) -> None:
    words = [model_of("vqa"), scenes_folder, "-q", "--batch-size", 5, "-o", tmp_path / "out.json"]
    with interrupted_after(3):
        assert predict(*words, "--dtype", "float32")[0] == 130
    status, _, err = predict(*words, "--dtype", "float32", "--compile")
    assert (status, "of another run (settings)" in err) == (1, True)
    status, out, _ = predict(*words, "--dtype", "float32", "--no-compile")
    assert (status, "15 of them from an earlier run" in out) == (0, True), out


@needs_int8
@pytest.mark.parametrize(("dtype", "runs"), [("auto", 3), ("int8", 2)])
@pytest.mark.usefixtures("compiled_models")
def test_progress_of_comparison_counts_every_answer(
    dtype: str, runs: int, model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path
) -> None:
    progress = RecordedProgress()
    folder = model_of("vqa")
    model = LxmertForQuestionAnswering.from_pretrained(folder)
    processor = LxmertProcessor.from_pretrained(folder)
    examples = get_task("vqa").split(scenes_folder, "train").read()
    store = open_stores(write_stores(tmp_path, scenes_folder, folder, split="train"))
    setup = ModelSetup(dtype, compiled=None)
    ExampleAnswerer(model, processor, examples, store, setup=setup, progress=progress).agreement()
    name = "Comparing int8 with float32"
    assert (name, runs * 256) in progress.started
    assert progress.done[name] == runs * 256

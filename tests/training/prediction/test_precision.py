"""Precision of `lxmert predict`: chosen by comparison, given by --dtype, and kept when a run resumes."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.cli import task_models
from lxmert.inference import agreement, bulk_examples
from lxmert.inference.agreement import Agreement
from lxmert.inference.bulk import BulkAnswerer
from lxmert.inference.bulk_examples import ExampleAnswerer
from lxmert.inference.bulk_packing import TokenizedQuestion, WindowLimits
from lxmert.inference.model_setup import ModelSetup
from lxmert.inference.ranks import Ranks
from lxmert.training.evaluation import run_model
from lxmert.training.prediction import predict_to_file
from lxmert.training.task_registry import get_task
from tests.inference.test_int8 import needs_int8
from tests.training.prediction.predicting import Predict, RecordedProgress


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reduced_precision_gives_mostly_same_answers_as_float32(
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


@pytest.fixture(params=["bfloat16", "float32"])
def chosen_dtype(request: pytest.FixtureRequest) -> str:
    """The precision that a comparison chooses for `compared_model`."""
    return str(request.param)


@pytest.fixture
def compared_model(chosen_dtype: str, model_of: Callable[[str], Path], close_calls_model: Path) -> Path:
    """The folder of a model that answers in bfloat16 as in float32, or of one that does not."""
    return model_of("vqa") if chosen_dtype == "bfloat16" else close_calls_model


def test_auto_dtype_is_chosen_by_agreement_with_float32(
    chosen_dtype: str,
    compared_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    agreements: list[Agreement],
) -> None:
    words = [compared_model, scenes_folder, "-q", "--split", "train", "-o"]
    status, out, err = predict(*words, tmp_path / "auto.json")
    assert (status, out) == (0, f"{tmp_path / 'auto.json'}: 640 predictions in {chosen_dtype}\n")
    (found,) = agreements
    assert found.compared == 64
    if chosen_dtype == "bfloat16":
        assert (found.agreed >= 63, err) == (True, "")
    else:
        assert found.agreed < 32
        note = f"note: bfloat16 gives the same answer as float32 for {found.agreed} of 64 questions"
        assert err == f"{note} (98 % required); using float32 (--dtype bfloat16 to override)\n"
    asked = sum(answered_batch_sizes)
    answered_batch_sizes.clear()
    # A precision given by --dtype is used without a comparison, and gives the same answers.
    assert predict(*words, tmp_path / "asked.json", "--dtype", chosen_dtype)[0] == 0
    assert sum(answered_batch_sizes) == asked - 2 * 64
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "asked.json").read_bytes()
    status, out, err = predict(*words, tmp_path / "insisted.json", "--dtype", "bfloat16")
    assert (status, err) == (0, "")
    assert out.endswith(" predictions in bfloat16\n")
    assert len(agreements) == 1
    is_same = (tmp_path / "insisted.json").read_bytes() == (tmp_path / "auto.json").read_bytes()
    assert is_same == (chosen_dtype == "bfloat16")


def test_reading_and_tokenising_are_shown_before_the_first_answer(
    model_of: Callable[[str], Path], scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.data.task_split._LARGE_MEGABYTES", 0)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    progress = RecordedProgress()
    output = tmp_path / "out.json"
    predict_to_file(model, processor, scenes_folder, "test", output, task="vqa", progress=progress)
    shown = [description for description, _ in progress.started]
    assert "Reading vqa_test_questions.json (MB)" in shown[:-2]
    assert shown[-2:] == ["Tokenising", "Answering test questions in float32"]


@pytest.mark.parametrize("reason", ["small", "no units"])
def test_auto_dtype_is_float32_where_comparison_is_not_worthwhile(
    reason: str,
    close_calls_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [close_calls_model, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "auto.json"]
    if reason == "small":
        words += ["--limit", 127]
    else:
        monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.float32)
    status, out, err = predict(*words)
    assert (status, err, agreements) == (0, "", [])
    assert out.endswith(" predictions in float32\n")
    assert predict(*words, "--dtype", "float32", "-o", tmp_path / "exact.json")[0] == 0
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "exact.json").read_bytes()


@pytest.mark.parametrize(("lower_dtype", "stored", "extracted"), [
    ("bfloat16", 256, 4096), ("int8", 1024, 16384)
])  # fmt: skip
def test_comparison_needs_fewer_questions_with_stored_features(
    lower_dtype: str,
    stored: int,
    extracted: int,
    model_of: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = {"bfloat16": True, "int8": True}
    fastest = {True: torch.bfloat16, False: torch.float32}
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: fastest[units["bfloat16"]])
    monkeypatch.setattr(agreement, "has_int8", lambda: units["int8"])
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))

    def is_worthwhile(examples: int, *, extracts_regions: bool = False, is_requested: bool = False) -> bool:
        return agreement.is_worth_comparing(
            model, lower_dtype, examples, extracts_regions=extracts_regions, is_requested=is_requested
        )

    assert not is_worthwhile(10**6), "too narrow to be faster"
    assert is_worthwhile(10**6, is_requested=True)
    monkeypatch.setattr(agreement, "MIN_HIDDEN_SIZE", model.config.hidden_size)
    assert (is_worthwhile(stored - 1), is_worthwhile(stored)) == (False, True)
    assert not is_worthwhile(stored - 1, is_requested=True)
    for examples, expected in ((extracted - 1, False), (extracted, True)):
        assert is_worthwhile(examples, extracts_regions=True) == expected
    for dtype in units:
        units[dtype] = False
        assert is_worthwhile(10**6) == units[lower_dtype]


def test_resumed_run_keeps_its_precision_on_another_device(
    chosen_dtype: str,
    compared_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
    agreements: list[Agreement],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [compared_model, scenes_folder, "-q", "--split", "train", "--batch-size", 5, "-o"]
    assert predict(*words, tmp_path / "whole.json")[0] == 0
    total, of_comparison = len(answered_batch_sizes), len(answered_batch_sizes)
    assert predict(*words, tmp_path / "asked.json", "--dtype", chosen_dtype)[0] == 0
    of_comparison -= len(answered_batch_sizes) - total
    agreements.clear()
    with interrupted_after(of_comparison - 3):
        assert predict(*words, tmp_path / "parts.json")[0] == 130
    assert agreements == []  # The comparison was interrupted: all of it is done again.
    with interrupted_after(of_comparison + 9):
        assert predict(*words, tmp_path / "parts.json")[0] == 130
    assert len(agreements) == 1
    # The device that it goes on with would have chosen otherwise, or compares anew.
    units = torch.float32 if chosen_dtype == "bfloat16" else torch.bfloat16
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: units)
    answered_batch_sizes.clear()
    status, out, _ = predict(*words, tmp_path / "parts.json")
    assert status == 0
    assert f" predictions in {chosen_dtype}, " in out
    assert len(answered_batch_sizes) == total - of_comparison - 9
    assert len(agreements) == 1
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert (tmp_path / "asked.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_unconnected_processes_answer_in_same_precision(
    close_calls_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [close_calls_model, scenes_folder, "-q", "--split", "train", "-o"]
    assert predict(*words, tmp_path / "alone.json", "--dtype", "float32")[0] == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        status, out, err = predict(*words, tmp_path / "out.json")
        assert status == 0
        assert " in float32" in out
        assert "using float32" in err
    assert len(agreements) == 1, "the second took what the first had found"
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "alone.json").read_bytes()


@pytest.mark.parametrize(("of_the_first", "chosen_dtype"), [
    ([63, 64, 0], "bfloat16"),
    ([62, 64, 0], "float32"),
    pytest.param([255, 256, 1], "int8", marks=needs_int8),
    ([254, 256, 1], "float32"),
])  # fmt: skip
@pytest.mark.usefixtures("no_compilation")
def test_first_process_chooses_precision_for_connected_processes(
    of_the_first: list[int],
    chosen_dtype: str,
    close_calls_model: Path,
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[Any] = []
    load = task_models.load_task_model

    def loading(*given: Any, **named: Any) -> Any:
        loaded.append(load(*given, **named))
        return loaded[-1]

    def total(self: Ranks, counts: list[int]) -> list[int]:
        """What comes of all processes' numbers, where this one knows nothing of the first's."""
        return of_the_first if counts == [0, 0, 0] else counts

    monkeypatch.setattr("lxmert.cli.predict.load_task_model", loading)
    monkeypatch.setattr(Ranks, "from_environment", lambda: Ranks(1, 2, is_connected=True))
    monkeypatch.setattr(Ranks, "sum_over_ranks", total)
    words = [close_calls_model, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    assert predict(*words) == (0, "", "")
    assert agreements == []
    assert loaded[0].dtype == chosen_dtype


def test_evaluation_chooses_same_precision_as_prediction(
    close_calls_model: Path,
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    agreements: list[Agreement],
) -> None:
    for folder, chosen_dtype in ((close_calls_model, "float32"), (model_of("vqa"), "bfloat16")):
        model = LxmertForQuestionAnswering.from_pretrained(folder)
        kept = {name: weights.clone() for name, weights in model.state_dict().items()}
        processor = LxmertProcessor.from_pretrained(folder)
        examples = get_task("vqa").split(scenes_folder, "train").read()
        notes: list[str] = []
        progress = RecordedProgress()
        auto = ModelSetup("auto")
        labels = run_model(model, processor, examples, (), None, auto, progress, notes.append)
        assert progress.started == [
            ("Tokenising", len(examples)),
            ("Comparing bfloat16 with float32", 128),
            (f"Answering train questions in {chosen_dtype}", len(examples)),
        ]
        assert len(notes) == (chosen_dtype == "float32")
        asked = LxmertForQuestionAnswering.from_pretrained(folder)
        assert labels == run_model(asked, processor, examples, setup=ModelSetup(chosen_dtype))
        if chosen_dtype == "float32":  # The float32 weights are restored exactly.
            now = model.state_dict()
            assert now.keys() == kept.keys()
            assert all(torch.equal(now[name], weights) for name, weights in kept.items())
    assert len(agreements) == 2


def test_example_answerer_prepares_auto_dtype_before_first_answer(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    agreements: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "MIN_EXAMPLES_PER_QUESTION_WITH_EXTRACTION", 1)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    examples = get_task("vqa").split(scenes_folder, "test").read()
    answerer = ExampleAnswerer(model, processor, examples, setup=ModelSetup("auto"))
    assert answerer.dtype == "float32"
    answers = dict(zip(*next(answerer.answer(answerer.order)), strict=True))
    assert (answerer.dtype, len(agreements)) == ("bfloat16", 1)
    asked = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    labels = run_model(asked, processor, examples, setup=ModelSetup("bfloat16"))
    assert answers == {place: labels[place] for place in answers}


def test_comparison_uses_first_64_distinct_questions(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    agreements: list[Agreement],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    windows: list[list[TokenizedQuestion]] = []
    answer = BulkAnswerer.answer_in_order

    def answering(
        self: BulkAnswerer[int], window: list[TokenizedQuestion], advance: Callable[[int], None]
    ) -> list[int]:
        windows.append(window)
        return answer(self, window, advance)

    monkeypatch.setattr(BulkAnswerer, "answer_in_order", answering)
    monkeypatch.setattr(bulk_examples, "EXTRACTION_WINDOW", WindowLimits(images=2))
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    read = get_task("vqa").split(scenes_folder, "train").read()
    # Every example once more, and those about the same image far apart: neither changes what is compared.
    examples = replace(read, examples=[*read.examples[::2], *read.examples[1::2], *read.examples])
    ExampleAnswerer(model, processor, examples, setup=ModelSetup("auto")).agreement()
    names = list(dict.fromkeys(one.images for one in examples.examples))
    of_image = {name: [one.text for one in examples.examples if one.images == name] for name in names}
    different = [(text, name) for name in names for text in dict.fromkeys(of_image[name])]
    assert len(different) > 64
    expected = [(processor.tokenizer(text)["input_ids"], name) for text, name in different[:64]]
    asked = [(one.token_ids.tolist(), one.images) for window in windows for one in window]
    assert asked == expected * 2
    assert max(len({one.images for one in window}) for window in windows) == 2
    assert [found.compared for found in agreements] == [64]

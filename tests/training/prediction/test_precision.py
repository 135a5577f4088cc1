"""Precision of `lxmert predict`: chosen by comparison, given by --dtype, and kept when a run resumes."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert import LxmertForQuestionAnswering, LxmertProcessor
from lxmert.cli import task_models
from lxmert.inference import agreement, bulk_examples, fast_model
from lxmert.inference.agreement import Agreement
from lxmert.inference.bulk import BulkAnswerer
from lxmert.inference.bulk_examples import ExampleAnswerer, ModelSetup
from lxmert.inference.bulk_packing import TokenizedQuestion
from lxmert.inference.ranks import Ranks
from lxmert.training.evaluation import run_model
from lxmert.training.prediction import predict_to_file
from lxmert.training.task_registry import get_task
from tests.command_line import exit_status
from tests.inference.test_int8 import needs_int8
from tests.training.prediction.predicting import Predict


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


@pytest.fixture
def agreements(monkeypatch: pytest.MonkeyPatch) -> list[Agreement]:
    """The comparisons of bfloat16 made so far; enabled on any machine, for narrow models, few questions."""
    found: list[Agreement] = []

    def comparing(*given: Any) -> Agreement:
        found.append(agreement.compare_dtypes(*given))
        return found[-1]

    monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(agreement, "MIN_EXAMPLES_WITH_EXTRACTION", 300)
    monkeypatch.setattr(agreement, "MIN_HIDDEN_SIZE", 1)
    monkeypatch.setattr(bulk_examples, "compare_dtypes", comparing)
    return found


@pytest.fixture
def close_calls_model(model_of: Callable[[str], Path], models: Path) -> Path:
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
    shown: list[str] = []

    def progress(description: str, total: int) -> Callable[[int], None]:
        shown.append(description)
        return lambda done: None

    output = tmp_path / "out.json"
    predict_to_file(model, processor, scenes_folder, "test", output, task="vqa", progress=progress)
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
        words += ["--limit", 299]
    else:
        monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.float32)
    status, out, err = predict(*words)
    assert (status, err, agreements) == (0, "", [])
    assert out.endswith(" predictions in float32\n")
    assert predict(*words, "--dtype", "float32", "-o", tmp_path / "exact.json")[0] == 0
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "exact.json").read_bytes()


@pytest.fixture
def no_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables compilation, which takes minutes and changes no answer, and GPUs, which have no int8."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(fast_model, "CompiledPart", lambda part, *arguments: part)


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
    note = re.fullmatch(r"note: int8 gives the same answer as float32 for (\d+) of 64 questions\n", err)
    assert note is not None, err
    assert 63 <= int(note[1]) <= 64
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
    words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "--limit", 299]
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
    close_calls_model: Path, scenes_folder: Path, tmp_path: Path, predict: Predict
) -> None:
    words = [close_calls_model, scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    status, out, err = predict(*words, "--dtype", "int8", "--compile")
    assert (status, out.endswith(" predictions in int8\n")) == (0, True)
    assert re.fullmatch(
        r"note: int8 gives the same answer as float32 for [12]?\d of 64 questions "
        r"\(98 % required of bfloat16\)\n",
        err,
    )


@pytest.mark.usefixtures("no_compilation")
def test_int8_without_compile_is_rejected_before_any_work(
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    answered_batch_sizes: list[int],
) -> None:
    status, _, err = predict(model_of("vqa"), scenes_folder, "-o", tmp_path / "out.json", "--dtype", "int8")
    assert (status, answered_batch_sizes, list(tmp_path.iterdir())) == (1, [], [])
    assert "int8 can only be used with compiled models on a CPU" in err


def test_comparison_needs_fewer_questions_with_stored_features(
    model_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "fast_dtype", lambda device: torch.bfloat16)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    assert not agreement.is_worth_comparing(model, 10**6, extracts_regions=False)  # Too narrow to be faster.
    monkeypatch.setattr(agreement, "MIN_HIDDEN_SIZE", model.config.hidden_size)
    for examples, stored, looked_at in [(255, False, False), (256, True, False), (4096, True, True)]:
        assert agreement.is_worth_comparing(model, examples, extracts_regions=False) == stored
        assert agreement.is_worth_comparing(model, examples, extracts_regions=True) == looked_at


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


@pytest.mark.parametrize(("of_the_first", "chosen_dtype"), [([63, 64], "bfloat16"), ([62, 64], "float32")])
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
        return of_the_first if counts == [0, 0] else counts

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
        shown: list[str] = []

        def progress(description: str, total: int, shown: list[str] = shown) -> Callable[[int], None]:
            shown.append(f"{description}: {total}")
            return lambda done: None

        auto = ModelSetup("auto")
        labels, _ = run_model(model, processor, examples, (), None, auto, progress, notes.append)
        assert shown == [
            f"Tokenising: {len(examples)}",
            "Comparing bfloat16 with float32: 128",
            f"Answering train questions in {chosen_dtype}: {len(examples)}",
        ]
        assert len(notes) == (chosen_dtype == "float32")
        asked = LxmertForQuestionAnswering.from_pretrained(folder)
        assert labels == run_model(asked, processor, examples, setup=ModelSetup(chosen_dtype))[0]
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
    monkeypatch.setattr(agreement, "MIN_EXAMPLES_WITH_EXTRACTION", 1)
    model = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    processor = LxmertProcessor.from_pretrained(model_of("vqa"))
    examples = get_task("vqa").split(scenes_folder, "test").read()
    answerer = ExampleAnswerer(model, processor, examples, setup=ModelSetup("auto"))
    assert answerer.dtype == "float32"
    answers = dict(zip(*next(answerer.answer(answerer.order)), strict=True))
    assert (answerer.dtype, len(agreements)) == ("bfloat16", 1)
    asked = LxmertForQuestionAnswering.from_pretrained(model_of("vqa"))
    labels, _ = run_model(asked, processor, examples, setup=ModelSetup("bfloat16"))
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
    assert [[(one.token_ids.tolist(), one.images) for one in window] for window in windows] == [expected] * 2
    assert [found.compared for found in agreements] == [64]

"""Compiled answering by `lxmert predict` and `eval`: in 8 bits, and chosen for large splits."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import nn

from lxmert import LxmertForQuestionAnswering
from lxmert.errors import ConfigurationError
from lxmert.inference import agreement, fast_model, model_setup
from lxmert.inference.agreement import Agreement
from lxmert.inference.fast_model import FastModel
from tests.command_line import exit_status
from tests.inference.test_int8 import needs_int8
from tests.model.small import small_config
from tests.training.prediction.predicting import Predict, write_stores


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
        r"note: int8 gives the same answer as float32 for (\d+) of 256 questions( .*)?\n", err
    )
    assert note is not None, err
    assert 250 <= int(note[1]) <= 256
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
def compiled_parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts compiled so far, in name only; enabled for 600 questions and narrow models."""
    names: list[str] = []

    def noted(part: nn.Module, name: str, *_: object) -> nn.Module:
        names.append(name)
        return part

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(fast_model, "CompiledPart", noted)
    monkeypatch.setattr(model_setup, "check_compiler", lambda: names.append("test layer"))
    monkeypatch.setattr(model_setup, "MIN_QUESTIONS_PER_THREAD", 600 / torch.get_num_threads())
    monkeypatch.setattr(model_setup, "MIN_HIDDEN_SIZE", 1)
    return names


ALL_PARTS = ["test layer", "object encoder", "word encoder", "scorer"]


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
    compiled_parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(agreement.MIN_AGREEMENT_PERCENT, "int8", 95)
    words = [model_of("vqa"), *large_split]
    warmed_up: list[object] = []
    monkeypatch.setattr(FastModel, "warm_up", lambda fast, advance: warmed_up.append(fast))
    status, out, err = predict(*words, tmp_path / "auto.json")
    assert (status, out) == (0, f"{tmp_path / 'auto.json'}: 640 predictions in int8\n")
    assert len(warmed_up) == 1, "compiled before the first answer"
    (found,) = agreements
    assert (found.lower_dtype, found.compared) == ("int8", 256)
    assert err == (
        f"note: int8 gives the same answer as float32 for {found.agreed} of 256 questions; using int8 "
        "(--dtype float32 to override)\n"
    )
    assert compiled_parts == ALL_PARTS
    # A precision given by --dtype gives the same answers; 8 bits are compiled whatever the size.
    asked = [*words, tmp_path / "asked.json", "--dtype", "int8"]
    assert predict(*asked, "--limit", "1", "--overwrite")[0] == 0
    assert compiled_parts == ALL_PARTS + ALL_PARTS[1:]
    assert predict(*asked, "--overwrite")[0] == 0
    assert (tmp_path / "auto.json").read_bytes() == (tmp_path / "asked.json").read_bytes()


@needs_int8
def test_auto_dtype_of_large_split_without_agreement_in_int8_is_next_lowest(
    large_split: list[object],
    model_of: Callable[[str], Path],
    close_calls_model: Path,
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    compiled_parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(agreement.MIN_AGREEMENT_PERCENT, "int8", 100.1)
    for folder, dtype in ((model_of("vqa"), "bfloat16"), (close_calls_model, "float32")):
        compiled_parts.clear()
        agreements.clear()
        status, out, _ = predict(folder, *large_split, tmp_path / f"{dtype}.json")
        assert (status, out.endswith(f" 640 predictions in {dtype}\n")) == (0, True)
        assert [found.lower_dtype for found in agreements] == ["int8", "bfloat16"]
        assert compiled_parts == ALL_PARTS
        asked = [folder, *large_split, tmp_path / f"asked-{dtype}.json", "--dtype", dtype]
        assert predict(*asked, "--no-compile")[0] == 0
        assert compiled_parts == ALL_PARTS
        auto, alone = ((tmp_path / f"{name}{dtype}.json").read_bytes() for name in ("", "asked-"))
        assert auto == alone, "the rejected 8 bits leave the weights as they were"


@pytest.mark.parametrize("reason", ["few", "extracted", "narrow", "not wanted", "shared"])
def test_models_are_not_compiled_where_it_does_not_pay(
    reason: str,
    large_split: list[object],
    model_of: Callable[[str], Path],
    scenes_folder: Path,
    tmp_path: Path,
    predict: Predict,
    compiled_parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [model_of("vqa"), *large_split, tmp_path / "out.json"]
    if reason == "few":
        words += ["--limit", 599]
    elif reason == "extracted":
        words = [model_of("vqa"), scenes_folder, "-q", "--split", "train", "-o", tmp_path / "out.json"]
    elif reason == "narrow":
        monkeypatch.setattr(model_setup, "MIN_HIDDEN_SIZE", 10**6)
    elif reason == "not wanted":
        words += ["--no-compile"]
    else:
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "0")
    status, out, err = predict(*words)
    assert (status, err, compiled_parts) == (0, "", [])
    assert " in float32" in out


def test_models_with_hooks_are_compiled_only_on_request(compiled_parts: list[str]) -> None:
    model = LxmertForQuestionAnswering(small_config())
    assert model_setup.compilation_pays(model, 600)
    model.lxmert.pooler.register_forward_hook(lambda *_: None)
    assert not model_setup.compilation_pays(model, 600)


def test_large_split_is_answered_uncompiled_where_nothing_can_be_compiled(
    large_split: list[object],
    model_of: Callable[[str], Path],
    tmp_path: Path,
    predict: Predict,
    compiled_parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise ConfigurationError("no compiler")

    monkeypatch.setattr(model_setup, "check_compiler", fail)
    status, out, err = predict(model_of("vqa"), *large_split, tmp_path / "out.json", "--dtype", "float32")
    assert (status, err) == (0, "note: answering without compiled code: no compiler\n")
    assert out.endswith(" 640 predictions in float32\n")
    assert compiled_parts == []


@needs_int8
def test_resumed_run_stays_in_int8_with_more_threads(
    large_split: list[object],
    model_of: Callable[[str], Path],
    tmp_path: Path,
    predict: Predict,
    agreements: list[Agreement],
    compiled_parts: list[str],
    answered_batch_sizes: list[int],
    interrupted_after: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(agreement.MIN_AGREEMENT_PERCENT, "int8", 95)
    words = [model_of("vqa"), *large_split, tmp_path / "out.json", "--batch-size", 5]
    assert predict(*words)[0] == 0
    whole = (tmp_path / "out.json").read_bytes()
    (tmp_path / "out.json").unlink()
    with interrupted_after(len(answered_batch_sizes) - 5):
        assert predict(*words)[0] == 130
    agreements.clear()
    # With so many threads the run would not be compiled, and so not compared in 8 bits.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10**6)
    status, out, _ = predict(*words)
    assert (status, agreements) == (0, [])
    assert " predictions in int8, " in out
    assert (tmp_path / "out.json").read_bytes() == whole

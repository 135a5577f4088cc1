"""A model set up for answering gives the scores of the plain one, whatever its dtype and kernels."""

import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lxmert import LxmertForQuestionAnswering, LxmertForVisualReasoning
from lxmert.errors import ConfigurationError, TensorError
from lxmert.inference.fast_model import FastModel
from lxmert.model.attention import LxmertAttention
from tests.model.small import inputs, small_config
from tests.model.test_visual_reasoning import pair_inputs


@pytest.fixture
def model() -> LxmertForQuestionAnswering:
    torch.manual_seed(3)
    return LxmertForQuestionAnswering(small_config()).eval()


def fast_scores(fast: FastModel, batch: dict[str, Tensor]) -> Tensor:
    mask = batch["visual_attention_mask"]
    states = fast.encode_objects(batch["visual_feats"], batch["visual_pos"], mask)
    return fast.scores(encoded_words(fast, batch), batch["attention_mask"], states, mask)


def encoded_words(fast: FastModel, batch: dict[str, Tensor]) -> Tensor:
    return fast.encode_words(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])


def test_scores_are_those_of_the_plain_model(model: LxmertForQuestionAnswering) -> None:
    batch = inputs()
    wanted = model(**batch).question_answering_score
    torch.testing.assert_close(fast_scores(FastModel(model), batch), wanted, rtol=0, atol=1e-6)


def test_pairs_of_images(model: LxmertForQuestionAnswering) -> None:
    pairs = LxmertForVisualReasoning(small_config()).eval()
    batch = pair_inputs()
    wanted = pairs(**batch).logits
    fast = FastModel(pairs)
    flat = [batch[name].flatten(0, 1) for name in ("visual_feats", "visual_pos", "visual_attention_mask")]
    states = fast.encode_objects(*flat).unflatten(0, (-1, 2))
    words = encoded_words(fast, batch)
    got = fast.scores(words, batch["attention_mask"], states, batch["visual_attention_mask"])
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


def test_joined_projections_are_the_separate_ones(model: LxmertForQuestionAnswering) -> None:
    batch = inputs()
    wanted = model(**batch).question_answering_score
    joined = deepcopy(model)
    for part in joined.modules():
        if isinstance(part, LxmertAttention):
            part.joins_projections = True
    assert joined.state_dict().keys() == model.state_dict().keys()
    torch.testing.assert_close(joined(**batch).question_answering_score, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_float32_scores_near_those_of_float32(
    model: LxmertForQuestionAnswering, dtype: str
) -> None:
    batch = inputs()
    wanted = model(**batch).question_answering_score
    got = fast_scores(FastModel(model, dtype=dtype), batch)
    assert got.dtype == torch.float32
    assert str(model.dtype) == f"torch.{dtype}"
    assert 0 < (got - wanted).abs().max() < 0.05


def test_auto_takes_bfloat16_only_where_there_are_units_for_it(
    model: LxmertForQuestionAnswering, monkeypatch: pytest.MonkeyPatch
) -> None:
    for has_units, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has_units=has_units: has_units)
        assert FastModel(deepcopy(model), dtype="auto").model.dtype == wanted


def test_an_unknown_dtype_is_refused(model: LxmertForQuestionAnswering) -> None:
    with pytest.raises(ConfigurationError, match="dtype is 'int8', expected auto, float32, bfloat16"):
        FastModel(model, dtype="int8")


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")


@pytest.fixture
def kept_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LXMERT_HOME", str(tmp_path))
    return tmp_path / "compiled"


@pytest.mark.slow
@needs_compiler
def test_compiled_scores_are_the_same_and_their_code_outlives_the_model(
    model: LxmertForQuestionAnswering, kept_code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = inputs()
    wanted = model(**batch).question_answering_score
    fast = FastModel(deepcopy(model), compiled=True, kept=True)
    torch.testing.assert_close(fast_scores(fast, batch), wanted, rtol=0, atol=1e-5)
    one = {name: values[:1] for name, values in batch.items()}
    torch.testing.assert_close(fast_scores(fast, one), wanted[:1], rtol=0, atol=1e-5)
    assert len(list(kept_code.iterdir())) == 3
    with pytest.raises(TensorError, match="input_ids"):
        fast.encode_words(torch.full_like(batch["input_ids"], 10**6))

    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("compiled again"))
        again = FastModel(deepcopy(model), compiled=True, kept=True)
        torch.testing.assert_close(fast_scores(again, batch), wanted, rtol=0, atol=1e-5)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler found\nat all")

    monkeypatch.setattr(torch.export, "export", refuse)
    with torch.no_grad():
        model.answer_head.logit_fc[-1].bias += 1
    other = FastModel(model, compiled=True, kept=True)
    with pytest.raises(ConfigurationError, match=r"cannot be compiled here \(no compiler found\)"):
        fast_scores(other, batch)
    assert len(list(kept_code.iterdir())) == 3


@pytest.mark.slow
@needs_compiler
def test_compiled_scores_of_pairs_are_the_same(kept_code: Path) -> None:
    torch.manual_seed(3)
    pairs = LxmertForVisualReasoning(small_config()).eval()
    batch = pair_inputs()
    wanted = pairs(**batch).logits
    fast = FastModel(pairs, compiled=True)
    flat = [batch[name].flatten(0, 1) for name in ("visual_feats", "visual_pos", "visual_attention_mask")]
    states = fast.encode_objects(*flat).unflatten(0, (-1, 2))
    words = encoded_words(fast, batch)
    got = fast.scores(words, batch["attention_mask"], states, batch["visual_attention_mask"])
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
@needs_compiler
def test_code_that_is_not_kept_gives_the_same_scores(
    model: LxmertForQuestionAnswering, kept_code: Path
) -> None:
    batch = inputs()
    wanted = model(**batch).question_answering_score
    fast = FastModel(model, compiled=True)
    torch.testing.assert_close(fast_scores(fast, batch), wanted, rtol=0, atol=1e-5)
    two = {name: values[:2] for name, values in batch.items()}
    torch.testing.assert_close(fast_scores(fast, two), wanted[:2], rtol=0, atol=1e-5)
    assert not kept_code.exists()

"""`FastModel`: scores equal those of the plain model, whatever its dtype and kernels; cached code."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from lxmert import LxmertForQuestionAnswering, LxmertForVisualReasoning, cpu
from lxmert.errors import ConfigurationError, TensorError
from lxmert.inference import compiled_code, compiling, fast_model
from lxmert.inference.compiling import compile_in_process
from lxmert.inference.fast_model import FastModel
from lxmert.inference.fused_products import fuse_projections
from tests.inference.adapters import add_adapters
from tests.model.small import BATCH, OBJECTS, WORDS, inputs, small_config
from tests.model.test_visual_reasoning import pair_inputs


def small_qa_model(**changes: Any) -> LxmertForQuestionAnswering:
    torch.manual_seed(3)
    return LxmertForQuestionAnswering(small_config(**changes)).eval()


@pytest.fixture
def model() -> LxmertForQuestionAnswering:
    return small_qa_model()


def fast_scores(fast: FastModel, batch: dict[str, Tensor]) -> Tensor:
    mask = batch["visual_attention_mask"]
    states = fast.encode_objects(batch["visual_feats"], batch["visual_pos"], mask)
    return fast.scores(encoded_words(fast, batch), batch["attention_mask"], states, mask)


def fast_scores_of_pairs(fast: FastModel, batch: dict[str, Tensor]) -> Tensor:
    flat = [batch[name].flatten(0, 1) for name in ("visual_feats", "visual_pos", "visual_attention_mask")]
    states = fast.encode_objects(*flat).unflatten(0, (-1, 2))
    words = encoded_words(fast, batch)
    return fast.scores(words, batch["attention_mask"], states, batch["visual_attention_mask"])


def encoded_words(fast: FastModel, batch: dict[str, Tensor]) -> Tensor:
    return fast.encode_words(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])


def test_scores_equal_those_of_plain_model(model: LxmertForQuestionAnswering) -> None:
    batch = inputs()
    wanted = model(**batch).question_answering_score
    torch.testing.assert_close(fast_scores(FastModel(model), batch), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("option", ["output_attentions", "output_hidden_states"])
def test_output_attentions_and_hidden_states_in_config_are_ignored(option: str) -> None:
    model, batch = small_qa_model(**{option: True}), inputs()
    wanted = model(**batch).question_answering_score
    torch.testing.assert_close(fast_scores(FastModel(model), batch), wanted, rtol=0, atol=1e-6)
    pairs = LxmertForVisualReasoning(small_config(**{option: True})).eval()
    batch = pair_inputs()
    wanted = pairs(**batch).logits
    torch.testing.assert_close(fast_scores_of_pairs(FastModel(pairs), batch), wanted, rtol=0, atol=1e-6)


def test_pair_model_scores_equal_those_of_plain_model() -> None:
    pairs = LxmertForVisualReasoning(small_config()).eval()
    batch = pair_inputs()
    wanted = pairs(**batch).logits
    torch.testing.assert_close(fast_scores_of_pairs(FastModel(pairs), batch), wanted, rtol=0, atol=1e-6)


INVALID_SCORE_INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"word_states": torch.zeros(BATCH, WORDS, 23)}, rf"word_states has shape \({BATCH}, {WORDS}, 23\)"),
    ({"word_states": torch.zeros(BATCH, 17, 24), "attention_mask": None}, "17 word pieces"),
    ({"word_states": torch.zeros(0, WORDS, 24), "object_states": torch.zeros(0, 2, 24)}, "may be empty"),
    ({"word_states": torch.zeros(BATCH, WORDS, 24).half()}, "word_states must be torch.float32 .*float16"),
    ({"attention_mask": torch.ones(BATCH, WORDS - 1)}, "attention_mask has shape"),
    ({"object_states": torch.zeros(BATCH - 1, OBJECTS, 24)}, "object_states has shape"),
    ({"object_states": torch.zeros(BATCH, 2, OBJECTS, 24)}, "object_states has shape"),
    ({"object_states": torch.zeros(BATCH, 0, 24)}, "may be empty"),
    ({"object_states": torch.zeros(BATCH, OBJECTS, 24).double()}, "object_states must be torch.float32"),
    ({"visual_attention_mask": torch.ones(BATCH, 2, OBJECTS)}, "visual_attention_mask has shape"),
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("changes", "fault"), INVALID_SCORE_INPUTS)
def test_scores_rejects_tensors_of_wrong_shape_or_dtype(
    changes: dict[str, Any], fault: str, compiled: bool, model: LxmertForQuestionAnswering
) -> None:
    right = {
        "word_states": torch.zeros(BATCH, WORDS, 24),
        "attention_mask": torch.ones(BATCH, WORDS),
        "object_states": torch.zeros(BATCH, OBJECTS, 24),
        "visual_attention_mask": torch.ones(BATCH, OBJECTS),
    }
    with pytest.raises(TensorError, match=fault):
        FastModel(model, compiled=compiled).scores(**(right | changes))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("shape", "mask", "fault"),
    [
        ((BATCH, OBJECTS, 24), (BATCH, OBJECTS), r"object_states has shape .*expected \(3, 2, any, 24\)"),
        ((BATCH, 3, OBJECTS, 24), (BATCH, 3, OBJECTS), "object_states has shape"),
        ((BATCH, 2, OBJECTS, 24), (BATCH, OBJECTS), "visual_attention_mask has shape .*images, objects"),
    ],
)
def test_pair_model_rejects_states_of_other_than_two_images(
    shape: tuple[int, ...], mask: tuple[int, ...], fault: str, compiled: bool
) -> None:
    fast = FastModel(LxmertForVisualReasoning(small_config()), compiled=compiled)
    with pytest.raises(TensorError, match=fault):
        fast.scores(torch.zeros(BATCH, WORDS, 24), None, torch.zeros(shape), torch.ones(mask))


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


@pytest.mark.parametrize(("has_amx", "has_avx512", "wanted"), [
    (True, True, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32),
])  # fmt: skip
def test_auto_dtype_is_bfloat16_only_with_amx_or_avx512_bf16(
    has_amx: bool,
    has_avx512: bool,
    wanted: torch.dtype,
    model: LxmertForQuestionAnswering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512)
    assert FastModel(model, dtype="auto").model.dtype == wanted


def test_unknown_dtype_is_rejected(model: LxmertForQuestionAnswering) -> None:
    with pytest.raises(ConfigurationError, match="dtype is 'int4', expected auto, int8, float32"):
        FastModel(model, dtype="int4")


def test_compiled_code_of_adapted_or_hooked_models_is_not_cached(
    model: LxmertForQuestionAnswering, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another factor of an adapter, as a hook, is another function of equal weights.
    monkeypatch.setattr(compiling, "compile_in_process", lambda part, name: part)
    monkeypatch.setattr(compiling, "cache_folder", lambda: pytest.fail("kept as a file"))
    batch = inputs()
    add_adapters(model)
    wanted = model(**batch).question_answering_score
    fast = FastModel(model, compiled=True)
    torch.testing.assert_close(fast_scores(fast, batch), wanted, rtol=0, atol=1e-6)
    hooked = small_qa_model()
    hooked.lxmert.pooler.register_forward_hook(lambda _, __, pooled: -pooled)
    wanted = hooked(**batch).question_answering_score
    fast = FastModel(hooked, compiled=True)
    torch.testing.assert_close(fast_scores(fast, batch), wanted, rtol=0, atol=1e-6)


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")


@pytest.fixture
def code_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LXMERT_HOME", str(tmp_path))
    return tmp_path / "compiled"


@pytest.fixture
def hashed_models(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The models whose weights were hashed, in order."""
    models: list[object] = []
    digest = fast_model.digest_weights

    def recording_digest(model: LxmertForQuestionAnswering) -> str:
        models.append(model)
        return digest(model)

    monkeypatch.setattr(fast_model, "digest_weights", recording_digest)
    return models


# Compiling takes seconds for every layer: each kind of layer is compiled here, none more often than it must.


@pytest.mark.slow
@needs_compiler
def test_compiled_scores_equal_plain_and_code_is_cached_on_disk(
    code_cache: Path, hashed_models: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the last cross-modality layer only the first word is computed.
    model = small_qa_model(l_layers=1, r_layers=1, x_layers=2)
    batch = inputs()
    wanted = model(**batch).question_answering_score
    fast = FastModel(deepcopy(model), compiled=True)
    parts: list[int] = []
    fast.warm_up(parts.append)
    assert (parts, len(list(code_cache.glob("*.so")))) == ([1, 1, 1], 3)
    torch.testing.assert_close(fast_scores(fast, batch), wanted, rtol=0, atol=1e-5)
    one = {name: values[:1] for name, values in batch.items()}
    torch.testing.assert_close(fast_scores(fast, one), wanted[:1], rtol=0, atol=1e-5)
    # Ids of half the size, and cut from longer ones; one image for all, as its states are expanded.
    ids = torch.cat([batch["input_ids"], batch["input_ids"]], dim=1).int()
    cut = batch | {"input_ids": ids[:, :WORDS]}
    torch.testing.assert_close(fast_scores(fast, cut), wanted, rtol=0, atol=1e-5)
    shared = batch | {
        name: batch[name][:1].expand_as(batch[name])
        for name in ("visual_feats", "visual_pos", "visual_attention_mask")
    }
    of_shared = model(**shared).question_answering_score
    torch.testing.assert_close(fast_scores(fast, shared), of_shared, rtol=0, atol=1e-5)
    states = fast.encode_objects(
        *(shared[name][:1] for name in ("visual_feats", "visual_pos")), one["visual_attention_mask"]
    )
    got = fast.scores(
        encoded_words(fast, batch),
        batch["attention_mask"],
        states.expand(BATCH, -1, -1),
        shared["visual_attention_mask"],
    )
    torch.testing.assert_close(got, of_shared, rtol=0, atol=1e-5)
    assert len(list(code_cache.glob("*.so"))) == 3
    assert len(hashed_models) == 1, "the weights are hashed once for all parts"
    with pytest.raises(TensorError, match="input_ids"):
        fast.encode_words(torch.full_like(batch["input_ids"], 10**6))

    compiled_code.load_code.cache_clear()  # As in another process.
    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("compiled again"))
        again = FastModel(deepcopy(model), compiled=True)
        torch.testing.assert_close(fast_scores(again, batch), wanted, rtol=0, atol=1e-5)

    (scorer,) = code_cache.glob("scorer*")
    moved_scorer = scorer.rename(code_cache / "moved_scorer")

    @contextmanager
    def lock_after_other_process(folder: Path) -> Iterator[None]:
        moved_scorer.rename(scorer)  # Another process has made it meanwhile.
        yield

    compiled_code.load_code.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("compiled again"))
        patch.setattr(compiling, "lock_folder", lock_after_other_process)
        again = FastModel(deepcopy(model), compiled=True)
        torch.testing.assert_close(fast_scores(again, batch), wanted, rtol=0, atol=1e-5)

    # The C library would not look at a damaged file of a name that it has loaded.
    faults = [RuntimeError("file too short")]
    (damaged,) = code_cache.glob("object-encoder*")
    before = damaged.stat().st_ino

    def load_code(path: Path) -> Callable[..., Tensor]:
        if faults:
            raise faults.pop()
        return compiled_code.load_code(path)

    with monkeypatch.context() as patch:
        patch.setattr(compiling, "load_code", load_code)
        again = FastModel(deepcopy(model), compiled=True)
        torch.testing.assert_close(fast_scores(again, batch), wanted, rtol=0, atol=1e-5)
    assert damaged.stat().st_ino != before, "made anew"

    def fail_to_export(*_: object, **__: object) -> None:
        raise RuntimeError("C++ compile error\nOutput:\nIn file included\npart.cpp:1: fatal error: no room\n")

    monkeypatch.setattr(torch.export, "export", fail_to_export)
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "describe_capabilities", lambda: "another processor")
        on_other_processor = FastModel(deepcopy(model), compiled=True)
        with pytest.raises(ConfigurationError, match=r"compiled here \(part.cpp:1: fatal error: no room\)"):
            fast_scores(on_other_processor, batch)
    with torch.no_grad():
        model.answer_head.logit_fc[-1].bias += 1
    other = FastModel(model, compiled=True)
    with pytest.raises(ConfigurationError, match=r"compiled here \(part.cpp:1: fatal error: no room\)"):
        fast_scores(other, batch)
    assert len(list(code_cache.glob("*.so"))) == 3


@pytest.mark.slow
@needs_compiler
def test_compiled_pair_scores_equal_those_of_plain_model(code_cache: Path) -> None:
    torch.manual_seed(3)
    pairs = LxmertForVisualReasoning(small_config(l_layers=0, r_layers=0, x_layers=1)).eval()
    batch = pair_inputs()
    wanted = pairs(**batch).logits
    fast = FastModel(pairs, compiled=True)
    fast.warm_up()
    assert len(list(code_cache.glob("*.so"))) == 3
    torch.testing.assert_close(fast_scores_of_pairs(fast, batch), wanted, rtol=0, atol=1e-5)


@needs_compiler
def test_missing_compiler_is_reported_without_torch_warning(
    code_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast = FastModel(small_qa_model(), compiled=True)
    without_compiler = torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")})
    fault = r"object encoder cannot be compiled here \(.*no-such-compiler.* It needs a C\+\+ compiler"
    with without_compiler, pytest.raises(ConfigurationError, match=fault):
        fast.warm_up()
    assert "kept" not in caplog.text, "torch would name a folder that is deleted already"


@pytest.mark.slow
@needs_compiler
def test_compile_in_process_gives_same_scores() -> None:
    model = small_qa_model(l_layers=0, r_layers=0, x_layers=2)
    fast = FastModel(deepcopy(model))
    fuse_projections(model)
    scorer = compile_in_process(fast_model._Scorer(model))
    for count in (BATCH, 2):
        words, objects = torch.rand(count, WORDS, 24), torch.rand(count, OBJECTS, 24)
        masks = torch.ones(count, WORDS), torch.ones(count, OBJECTS)
        with torch.no_grad():
            got = scorer(words, masks[0], objects, masks[1])
        torch.testing.assert_close(got, fast.scores(words, masks[0], objects, masks[1]), rtol=0, atol=1e-5)


def test_failing_torch_compile_raises_error_with_part_and_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_triton(*_: torch.Tensor) -> torch.Tensor:
        raise TorchDynamoException("Cannot find a working triton installation.\nMore about it.")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: without_triton)
    hooked = small_qa_model()
    hooked.lxmert.pooler.register_forward_hook(lambda _, __, pooled: -pooled)
    fast = FastModel(hooked, compiled=True)
    message = r"the word encoder cannot be compiled here \(Cannot find a working triton installation\)"
    with pytest.raises(ConfigurationError, match=message):
        fast.encode_words(torch.ones(BATCH, WORDS, dtype=torch.long))


@pytest.mark.parametrize(("dtype", "has_amx", "wanted"), [
    ("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False), ("int8", True, False),
])  # fmt: skip
def test_linear_layers_are_split_only_for_bfloat16_with_amx(
    dtype: str, has_amx: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    model = small_qa_model()
    FastModel(model, dtype=dtype, compiled=True)
    assert ("_SplitLinear" in repr(model)) == wanted

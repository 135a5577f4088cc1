"""8-bit linear layers compute the exact sums of the quantized numbers; scores stay near those of float32."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from lxmert import LxmertForQuestionAnswering
from lxmert.cpu import has_int8
from lxmert.errors import ConfigurationError
from lxmert.inference import int8
from lxmert.inference.fast_model import FastModel
from lxmert.inference.int8 import (
    Int8Linear,
    approximate_gelu,
    fused_int8_linear,
    quantize,
    quantize_rows,
)
from tests.inference.adapters import add_adapters
from tests.inference.test_fast_model import fast_scores, needs_compiler, small_qa_model
from tests.model.small import inputs

needs_int8 = pytest.mark.skipif(not has_int8(), reason="the processor has no 8-bit products")

BOTH_BYTE_DTYPES = pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])


def linear(inputs: int, outputs: int) -> nn.Linear:
    torch.manual_seed(inputs + outputs)
    return nn.Linear(inputs, outputs)


@BOTH_BYTE_DTYPES
@given(arrays.arrays("float32", (3, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_quantized_rows_differ_by_at_most_half_a_step(dtype: torch.dtype, rows: object) -> None:
    states = torch.from_numpy(rows)
    quantized = quantize_rows(states, dtype)
    assert quantized.values.dtype == dtype
    steps = quantized.values.int() - quantized.zero_point
    assert -127 <= int(steps.min()) <= int(steps.max()) <= 127
    # Half a step, and what float32 itself rounds.
    assert bool(((steps * quantized.scale - states).abs() <= 0.5001 * quantized.scale).all())


def test_quantized_row_is_independent_of_other_rows() -> None:
    states = torch.tensor([[1.0, -0.5], [1000.0, 3.0]])
    values, scale = quantize_rows(states)
    assert values.tolist() == [[127, -64], [127, 0]]  # -63.5 and 0.38, to the even one
    torch.testing.assert_close(scale, torch.tensor([[1 / 127], [1000 / 127]]))


@needs_int8
@BOTH_BYTE_DTYPES
@pytest.mark.parametrize("shape", [(7, 12), (2, 7, 12)])
def test_int8_product_equals_exact_sum_of_quantized_numbers(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    layer = linear(12, 10)
    # Pairs of the largest numbers, whose sums need more than 16 bits.
    states = torch.randn(shape).where(torch.arange(12) > 3, 9.0)
    layer.weight.data[:, :4] = layer.weight.abs().max()
    rows, weights = quantize_rows(states), quantize_rows(layer.weight)
    summed = rows.values.double() @ weights.values.double().t()
    wanted = summed * rows.scale.double() * weights.scale.double().t() + layer.bias.double()
    got = fused_int8_linear((Int8Linear(layer, torch.float32),), quantize_rows(states, dtype))
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)


@needs_int8
def test_rows_are_unsigned_without_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = small_qa_model(l_layers=1, x_layers=1), inputs()
    quantize(model, torch.float32)
    scores = []
    for has_amx, dtype in ((True, torch.int8), (False, torch.uint8)):
        rounded: list[torch.dtype] = []
        with monkeypatch.context() as patch:
            patch.setattr(int8, "has_amx", lambda has_amx=has_amx: has_amx)
            patch.setattr(int8, "_round_rows", _recording_round_rows(rounded))
            scores.append(model(**batch).question_answering_score)
        assert set(rounded) == {dtype}
    torch.testing.assert_close(*scores, rtol=0, atol=1e-5)


def _recording_round_rows(dtypes: list[torch.dtype]) -> Any:
    """`int8._round_rows`, which also notes what it is asked for."""
    rounded = int8._round_rows

    def note(states: Tensor, largest: Tensor, dtype: torch.dtype) -> Any:
        dtypes.append(dtype)
        return rounded(states, largest, dtype)

    return note


@needs_int8
def test_product_is_near_that_of_float32() -> None:
    layer, states = linear(64, 32), torch.randn(9, 64)
    got = Int8Linear(layer, torch.float32)(states)
    torch.testing.assert_close(got, layer(states), rtol=0, atol=0.03)


@needs_int8
def test_joint_int8_product_equals_concatenated_products() -> None:
    layers = [Int8Linear(linear(12, outputs), torch.bfloat16) for outputs in (4, 6)]
    states = torch.randn(3, 5, 12)
    got = fused_int8_linear(layers, states)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, torch.cat([layer(states) for layer in layers], dim=-1))


def test_approximate_gelu_is_near_exact_gelu() -> None:
    values = torch.cat([torch.linspace(-6, 6, 20001), torch.tensor([-1e4, -30.0, 0.0, 30.0, 1e4])])
    wanted = nn.functional.gelu(values.double())
    error = (approximate_gelu(values).double() - wanted).abs()
    assert bool((error <= 2e-4 + 1e-6 * values.abs()).all())


@needs_int8
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_scores_are_near_those_of_float32(activation: str) -> None:
    model = small_qa_model(hidden_act=activation)
    batch = inputs()
    wanted = model(**batch).question_answering_score
    names = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    quantize(model, torch.float32)
    left = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    assert all(".encoder." not in name or ".visn_fc." in name for name in left)
    assert {name for name in names if ".encoder." not in name} <= set(left)
    got = model(**batch).question_answering_score
    assert 1e-5 < (got - wanted).abs().max() < 0.02 * wanted.std()


@needs_int8
def test_model_takes_given_dtype_but_scales_stay_float32() -> None:
    model = small_qa_model()
    quantize(model, torch.bfloat16)
    assert model.dtype == torch.bfloat16
    scales = [part.scale for part in model.modules() if isinstance(part, Int8Linear)]
    assert {scale.dtype for scale in scales} == {torch.float32}


@pytest.mark.slow
@needs_int8
@needs_compiler
def test_compiled_int8_scores_are_near_eager_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LXMERT_HOME", str(tmp_path))
    batch = inputs()
    fast = FastModel(small_qa_model(l_layers=1, x_layers=1), dtype="int8", compiled=True)
    eager = small_qa_model(l_layers=1, x_layers=1)
    quantize(eager, fast.model.dtype)
    wanted = fast_scores(FastModel(eager, dtype=None), batch)
    torch.testing.assert_close(fast_scores(fast, batch), wanted, rtol=0, atol=0.03)
    assert len(list(tmp_path.rglob("*.so"))) == 3


@needs_int8
def test_int8_requires_compilation_and_cpu() -> None:
    with pytest.raises(ConfigurationError, match="compiled models on a CPU"):
        FastModel(small_qa_model(), dtype="int8")
    fast = FastModel(small_qa_model(), dtype="int8", compiled=True)
    with pytest.raises(ConfigurationError, match="compiled models on a CPU"):
        fast.to("cuda")


def test_cpu_without_int8_instructions_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    model = small_qa_model()
    before = deepcopy(model.state_dict())
    with pytest.raises(ConfigurationError, match="needs a processor with AMX or AVX512-VNNI"):
        FastModel(model, dtype="int8", compiled=True)
    assert_weights_unchanged(model, before)


@needs_int8
@pytest.mark.parametrize("dtype", ["int8", "float32", "auto"])
def test_int8_model_cannot_change_dtype(dtype: str) -> None:
    fast = FastModel(small_qa_model(), dtype="int8", compiled=True)
    with pytest.raises(ConfigurationError, match="already in 8 bits"):
        FastModel(fast.model, dtype=dtype, compiled=True)


def test_rejected_model_keeps_its_weights() -> None:
    model = small_qa_model()
    before = deepcopy(model.state_dict())
    with pytest.raises(ConfigurationError):
        FastModel(model, dtype="int8")
    assert_weights_unchanged(model, before)


def assert_weights_unchanged(model: LxmertForQuestionAnswering, before: dict[str, Tensor]) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@needs_int8
def test_quantize_rejects_adapted_layers() -> None:
    model, batch = small_qa_model(), inputs()
    add_adapters(model)
    wanted = model(**batch).question_answering_score
    with pytest.raises(
        ConfigurationError, match=r"encoder\.layer\.0\.attention\.self\.query is a Adapter.* merge"
    ):
        quantize(model, torch.bfloat16)
    assert torch.equal(model(**batch).question_answering_score, wanted)


@needs_int8
def test_quantized_model_cannot_be_saved(tmp_path: Path) -> None:
    model = small_qa_model()
    quantize(model, torch.float32)
    for one in (model, deepcopy(model)):
        with pytest.raises(ConfigurationError, match="8 bits cannot be saved"):
            one.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()

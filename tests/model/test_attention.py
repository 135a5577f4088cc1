"""Attention: agreement of implementations, attention maps, padding masks, fully masked rows, dropout."""

import math

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lxmert.model import LxmertForPreTraining, LxmertModel, LxmertXLayer
from lxmert.model.attention import LxmertAttention, additive_mask, eager_attention
from tests.model.small import BATCH, OBJECTS, WORDS, inputs, small_config, targets


def test_eager_attention_equals_hand_computed_values() -> None:
    # One head of width 1; scores 0, log 3 and a hidden one give the weights 1/4, 3/4, 0.
    query = torch.ones(1, 1, 1, 1)
    key = torch.tensor([0.0, math.log(3), 50.0]).view(1, 1, 3, 1)
    value = torch.tensor([4.0, 8.0, 1000.0]).view(1, 1, 3, 1)
    mask = additive_mask(torch.tensor([[1, 1, 0]]), torch.float32)
    mixed, weights = eager_attention(
        LxmertAttention(small_config()).eval(), query, key, value, mask, scaling=1.0
    )
    torch.testing.assert_close(weights.flatten(), torch.tensor([0.25, 0.75, 0.0]))
    assert mixed.item() == pytest.approx(7.0)


def test_scores_are_divided_by_the_root_of_the_head_width() -> None:
    attention = LxmertAttention(small_config()).eval()  # heads of width 8
    states = torch.randn(BATCH, WORDS, 24)
    _, weights = attention(states, states, output_attentions=True)
    query = attention.query(states)[..., :8]
    key = attention.key(states)[..., :8]
    expected = (query @ key.transpose(1, 2) / math.sqrt(8)).softmax(-1)
    torch.testing.assert_close(weights[:, 0], expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float64])
def test_additive_mask_is_same_for_every_mask_dtype(dtype: torch.dtype) -> None:
    mask = additive_mask(torch.tensor([[1, 0], [1, 1], [0, 0]]).to(dtype), torch.float32)
    low = torch.finfo(torch.float32).min
    assert mask is not None
    assert mask.shape == (3, 1, 1, 2)
    assert mask.flatten().tolist() == [0.0, low, 0.0, 0.0, low, low]


@pytest.mark.parametrize(
    ("dtype", "mask_dtype"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_additive_mask_is_dtype_minimum_and_float32_for_float16(
    dtype: torch.dtype, mask_dtype: torch.dtype
) -> None:
    mask = additive_mask(torch.tensor([[1, 0]]), dtype)
    assert mask is not None
    assert mask.dtype == mask_dtype
    assert mask.flatten().tolist() == [0.0, torch.finfo(mask_dtype).min]


def test_sdpa_outputs_and_gradients_equal_eager() -> None:
    eager = LxmertForPreTraining(small_config(attn_implementation="eager", **_NO_DROPOUT))
    sdpa = LxmertForPreTraining(small_config(attn_implementation="sdpa", **_NO_DROPOUT))
    sdpa.load_state_dict(eager.state_dict())
    a, b = eager(**inputs(), **targets()), sdpa(**inputs(), **targets())
    torch.testing.assert_close(a.to_tuple(), b.to_tuple(), atol=1e-5, rtol=1e-5)
    a.loss.backward()
    b.loss.backward()
    for (name, x), y in zip(eager.named_parameters(), sdpa.parameters(), strict=True):
        torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-4, msg=name)


_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def test_sdpa_attention_maps_equal_eager_and_config_stays_sdpa() -> None:
    eager = LxmertModel(small_config(attn_implementation="eager")).eval()
    sdpa = LxmertModel(small_config(attn_implementation="sdpa")).eval()
    sdpa.load_state_dict(eager.state_dict())
    expected = eager(**inputs(), output_all_attentions=True)
    got = sdpa(**inputs(), output_all_attentions=True)
    torch.testing.assert_close(got.to_tuple(), expected.to_tuple())
    assert sdpa.config._attn_implementation == "sdpa"
    assert sdpa.config.output_attentions is False


def test_set_attn_implementation_on_existing_model_keeps_outputs() -> None:
    model = LxmertModel(small_config()).eval()
    before = model(**inputs()).pooled_output
    model.set_attn_implementation("eager")
    assert model.encoder.layer[0].attention.self.config._attn_implementation == "eager"
    torch.testing.assert_close(model(**inputs()).pooled_output, before)


def test_registered_attention_runs_in_every_layer_but_not_for_maps() -> None:
    calls = []

    def counting(module: torch.nn.Module, *args: torch.Tensor, **kwargs: float) -> tuple[torch.Tensor, None]:
        calls.append(args[3])
        return eager_attention(module, *args, **kwargs)[0], None

    ALL_ATTENTION_FUNCTIONS.register("counting", counting)
    model = LxmertModel(small_config(attn_implementation="counting")).eval()
    expected = LxmertModel(small_config()).eval()
    expected.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(**inputs()).pooled_output, expected(**inputs()).pooled_output)
    assert len(calls) == 2 + 1 + 4 * 3
    model(**inputs(), output_all_attentions=True)
    assert len(calls) == 15


def test_flash_attention_with_masks_is_limited_to_self_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def flash(
        module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask, **kwargs
    ):
        calls.append((query.shape[2], key.shape[2], mask))
        extended = None if mask is None else additive_mask(mask, query.dtype)
        return eager_attention(module, query, key, value, extended, **kwargs)[0], None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flash_attention_2", flash)
    model = LxmertModel(small_config()).eval()
    expected = model(**inputs()).pooled_output
    model.config._attn_implementation = "flash_attention_2"
    torch.testing.assert_close(model(**inputs()).pooled_output, expected)
    assert {(q, k) for q, k, _ in calls} == {(WORDS, WORDS), (OBJECTS, OBJECTS)}
    assert all(torch.equal(m, inputs()["attention_mask"].bool()) for q, _, m in calls if q == WORDS)
    calls.clear()
    model(**{name: value for name, value in inputs().items() if "mask" not in name})
    assert (WORDS, OBJECTS) in {(q, k) for q, k, _ in calls}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_fully_masked_rows_give_finite_outputs_and_gradients(attention: str, dtype: torch.dtype) -> None:
    model = LxmertForPreTraining(small_config(attn_implementation=attention)).to(dtype).eval()
    batch = inputs()
    batch["visual_attention_mask"][1] = 0
    batch["attention_mask"][0] = 0
    output = model(**batch, **targets())
    for value in (output.prediction_logits, output.cross_relationship_score, output.loss):
        assert value.isfinite().all()
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_close_to_float32_and_finite_with_fully_masked_rows(
    attention: str, dtype: torch.dtype
) -> None:
    model = LxmertForPreTraining(small_config(attn_implementation=attention)).eval()
    batch = inputs()
    exact = model(**batch, **targets())
    with torch.autocast("cpu", dtype):
        close = model(**batch, **targets())
        batch["visual_attention_mask"][1] = 0
        hidden = model(**batch, **targets())
    assert hidden.loss.isfinite()
    assert close.loss.dtype == torch.float32
    torch.testing.assert_close(close.prediction_logits.float(), exact.prediction_logits, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_fully_masked_row_output_and_gradient_are_those_of_mean_context(attention: str) -> None:
    torch.manual_seed(3)
    layer = LxmertAttention(small_config(attn_implementation=attention, **_NO_DROPOUT))
    states, context = torch.randn(2, WORDS, 24), torch.randn(2, OBJECTS, 24)
    mask = additive_mask(torch.tensor([[0] * OBJECTS, [1] * OBJECTS]), torch.float32)
    mixed, _ = layer(states, context, mask)
    wanted = torch.randn(WORDS, 24)
    (mixed[0] * wanted).sum().backward()
    # Each of the equal weights is 1/O, so the values get the mean over the context, whatever the query.
    mean = context[0].mean(dim=0)
    torch.testing.assert_close(mixed[0], layer.value(mean).expand(WORDS, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        layer.value.weight.grad, wanted.sum(dim=0)[:, None] * mean, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(layer.value.bias.grad, wanted.sum(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_fully_masked_row_attends_uniformly_in_every_dtype(
    attention: str, dtype: torch.dtype, autocast: bool
) -> None:
    torch.manual_seed(3)
    layer = LxmertAttention(small_config(attn_implementation=attention)).eval().requires_grad_(False)
    for weight in layer.parameters():
        weight.normal_(std=0.6)  # scores far apart: what remained of them would show
    states, context = torch.randn(2, WORDS, 24), torch.randn(2, OBJECTS, 24)
    expected = layer.value(context[0]).mean(dim=0).expand(WORDS, -1)
    own = torch.float32 if autocast else dtype
    mask = additive_mask(torch.tensor([[0] * OBJECTS, [1] * OBJECTS]), own)
    with torch.autocast("cpu", dtype, enabled=autocast and dtype != torch.float32):
        mixed, _ = layer.to(own)(states.to(own), context.to(own), mask)
    torch.testing.assert_close(mixed[0].float(), expected, atol=2e-2, rtol=2e-2)
    with torch.autocast("cpu", dtype, enabled=autocast and dtype != torch.float32):
        _, weights = layer(states.to(own), context.to(own), mask, output_attentions=True)
    torch.testing.assert_close(
        weights[0].float(), torch.full((3, WORDS, OBJECTS), 1 / OBJECTS), atol=1e-3, rtol=0
    )
    assert weights[1].max() > 0.5


def test_float16_attention_maps_of_fully_masked_text_are_uniform() -> None:
    model = LxmertModel(small_config(initializer_range=0.6)).half().eval()
    batch = inputs()
    batch["attention_mask"][1] = 0
    maps = model(**batch, output_attentions=True).language_attentions
    for weights in maps:
        torch.testing.assert_close(weights[1], torch.full_like(weights[1], 1 / WORDS), atol=1e-3, rtol=0)


def test_float16_scores_near_dtype_minimum_stay_finite() -> None:
    query = torch.full((1, 1, 2, 1), 20.0, dtype=torch.float16)
    key = torch.full((1, 1, 3, 1), -20.0, dtype=torch.float16)
    mask = additive_mask(torch.zeros(1, 3), torch.float16)
    mixed, weights = eager_attention(
        LxmertAttention(small_config()).eval(), query, key, key, mask, scaling=1.0
    )
    assert weights.isfinite().all()
    assert mixed.isfinite().all()


def test_attention_dropout_applies_in_training_mode_only() -> None:
    config = small_config(attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0)
    attention = LxmertAttention(config)
    states = torch.randn(BATCH, WORDS, 24)
    _, dropped = attention.train()(states, states, output_attentions=True)
    _, kept = attention.eval()(states, states, output_attentions=True)
    assert (dropped == 0).float().mean() == pytest.approx(0.5, abs=0.15)
    assert (kept > 0).all()


def test_x_layer_called_alone_returns_states_then_requested_maps() -> None:
    layer = LxmertXLayer(small_config()).eval()
    words, objects = torch.randn(BATCH, WORDS, 24), torch.randn(BATCH, OBJECTS, 24)
    plain = layer(words, None, objects, None)
    assert [value.shape for value in plain] == [words.shape, objects.shape]
    known = layer(words, None, objects, None, output_attentions=True)
    mapped = layer(words, None, objects, None, output_all_attentions=True)
    torch.testing.assert_close(mapped[:2], plain)
    torch.testing.assert_close(mapped[:3], known)
    assert [value.shape[-2:] for value in mapped[2:]] == [
        (WORDS, OBJECTS),
        (OBJECTS, WORDS),
        (WORDS, WORDS),
        (OBJECTS, OBJECTS),
    ]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_dropout_is_a_module_that_programs_can_find_and_set(attention: str) -> None:
    config = small_config(attn_implementation=attention, attention_probs_dropout_prob=0.5)
    model = LxmertModel(config).eval()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]

    def varies() -> bool:
        return not torch.equal(model(**inputs()).pooled_output, model(**inputs()).pooled_output)

    assert not varies()
    for layer in layers:  # Monte Carlo dropout
        layer.train()
        if layer.p == config.hidden_dropout_prob:
            layer.p = 0.0
    assert varies()
    for layer in layers:
        layer.p = 0.0
    assert not varies()


def test_replaced_attention_dropout_is_called_with_the_weights() -> None:
    layer = LxmertAttention(small_config(attn_implementation="sdpa")).eval()
    states = torch.randn(BATCH, WORDS, 24)
    expected, weights = layer(states, states, output_attentions=True)
    layer.dropout = Doubling()
    torch.testing.assert_close(layer(states, states)[0], 2 * expected)
    torch.testing.assert_close(layer(states, states, output_attentions=True)[1], 2 * weights)


class Doubling(torch.nn.Module):
    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        return 2 * weights

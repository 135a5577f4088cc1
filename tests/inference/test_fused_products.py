"""Fused projections and split linear layers compute the same as the model's own."""

from copy import deepcopy

import pytest
import torch

from lxmert import LxmertForQuestionAnswering
from lxmert.inference import fused_products
from lxmert.inference.fused_products import fuse_projections, split_products
from lxmert.model.attention import LxmertAttention
from tests.inference.adapters import add_adapters
from tests.model.small import inputs, small_config


@pytest.fixture
def model() -> LxmertForQuestionAnswering:
    torch.manual_seed(3)
    return LxmertForQuestionAnswering(small_config()).eval()


def fused(model: LxmertForQuestionAnswering) -> LxmertForQuestionAnswering:
    other = deepcopy(model)
    fuse_projections(other)
    assert other.state_dict().keys() == model.state_dict().keys()
    return other


def count_matrix_products(model: LxmertForQuestionAnswering) -> int:
    """How many matrix products a pass takes."""
    with torch.profiler.profile() as profile:
        model(**inputs())
    return sum(event.count for event in profile.key_averages() if event.key in ("aten::addmm", "aten::mm"))


@pytest.mark.parametrize("pooled_only", [False, True])
def test_fused_projections_give_same_outputs(model: LxmertForQuestionAnswering, pooled_only: bool) -> None:
    wanted, got = (
        one.lxmert(**inputs(), pooled_only=pooled_only, return_dict=True) for one in (model, fused(model))
    )
    torch.testing.assert_close(got.pooled_output, wanted.pooled_output, rtol=0, atol=1e-6)
    if not pooled_only:
        torch.testing.assert_close(got.vision_output, wanted.vision_output, rtol=0, atol=1e-6)


def test_fused_projections_reduce_matrix_products(model: LxmertForQuestionAnswering) -> None:
    layers = model.config.l_layers + model.config.r_layers
    # Self-attention: 3 products become 1. Cross-modality layers: 6 of the cross-attention become 1, its 2
    # outputs 1, and there are two self-attentions. The last layer, of which the first word alone is computed,
    # joins keys and values, of the objects and then of the words.
    saved = 2 * layers + (5 + 1 + 2 * 2) * (model.config.x_layers - 1) + 2
    assert count_matrix_products(model) - count_matrix_products(fused(model)) == saved


def test_fused_projections_give_same_attention_maps(model: LxmertForQuestionAnswering) -> None:
    words = torch.rand(2, 3, 24)
    features, positions = (
        torch.rand(2, 4, size) for size in (model.config.visual_feat_dim, model.config.visual_pos_dim)
    )
    wanted, got = (
        one.lxmert.encoder(words, None, features, positions, output_all_attentions=True)
        for one in (model, fused(model))
    )
    for kind in ("words_to_objects", "objects_to_words", "words_to_words", "objects_to_objects"):
        maps, others = getattr(wanted, kind), getattr(got, kind)
        assert len(maps) == model.config.x_layers
        for one, other in zip(maps, others, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


def test_existing_fused_projection_is_kept(model: LxmertForQuestionAnswering) -> None:
    def own(layers: object, states: torch.Tensor) -> torch.Tensor:
        return states

    attention = next(part for part in model.modules() if isinstance(part, LxmertAttention))
    attention.fused_projection = own
    fuse_projections(model)
    assert attention.fused_projection is own


def test_adapted_and_hooked_layers_are_not_fused(model: LxmertForQuestionAnswering) -> None:
    add_adapters(model)
    plain = model.lxmert.encoder.layer[0].attention
    for name in ("query", "value"):
        setattr(plain.self, name, getattr(plain.self, name).base_layer)
    plain.self.key.register_forward_hook(lambda _, __, keys: -keys)
    wanted, got = (one(**inputs()).question_answering_score for one in (model, fused(model)))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


def test_split_products_give_same_scores(
    model: LxmertForQuestionAnswering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_products, "_OUTPUTS_PER_SPLIT", 7)  # Does not divide 24.
    other = deepcopy(model)
    split_products(other)
    wanted, got = (one(**inputs()).question_answering_score for one in (model, other))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    layers = model.config.l_layers + model.config.x_layers
    assert count_matrix_products(other) - count_matrix_products(model) == 3 * layers, "24 outputs are 4 parts"

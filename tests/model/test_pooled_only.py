"""`pooled_only` and the models that use it compute less: the same results and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lxmert.model import LxmertForQuestionAnswering, LxmertForVisualReasoning, LxmertModel
from lxmert.model.encoder import LxmertXLayer
from tests.model.small import BATCH, WORDS, enable_checkpointing, gradients, inputs, small_config

CLASSES = torch.tensor([1, 0, 1])


def batch_for(model: nn.Module) -> dict[str, Tensor]:
    given = inputs()
    if isinstance(model, LxmertForVisualReasoning):
        for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
            given[name] = torch.stack([given[name], given[name].roll(1, dims=0)], dim=1)
    return given


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_pooled_only_returns_same_pooled_output(layers: int, attention: str) -> None:
    torch.manual_seed(1)
    model = LxmertModel(small_config(x_layers=layers, attn_implementation=attention)).eval()
    whole, pooled = model(**inputs()), model(**inputs(), pooled_only=True)
    assert list(pooled) == ["pooled_output"]
    torch.testing.assert_close(pooled.pooled_output, whole.pooled_output, rtol=1e-5, atol=1e-6)


def test_pooled_only_with_states_and_maps_drops_only_final_outputs() -> None:
    model = LxmertModel(small_config()).eval()
    wanted = {"output_hidden_states": True, "output_all_attentions": True}
    whole, pooled = model(**inputs(), **wanted), model(**inputs(), **wanted, pooled_only=True)
    assert [name for name in whole if name not in pooled] == ["language_output", "vision_output"]
    for name in pooled:
        torch.testing.assert_close(pooled[name], whole[name], rtol=0, atol=0)


@pytest.mark.parametrize("maps", ["output_attentions", "output_all_attentions"])
def test_first_word_only_is_ignored_when_encoder_returns_maps(maps: str) -> None:
    encoder, config = LxmertModel(small_config()).eval().encoder, small_config()
    given = inputs()
    words = torch.rand(BATCH, WORDS, config.hidden_size)
    objects = given["visual_feats"], given["visual_pos"]
    whole = encoder(words, None, *objects, **{maps: True})
    first = encoder(words, None, *objects, **{maps: True}, first_word_only=True)
    torch.testing.assert_close(first, whole, rtol=0, atol=0)
    assert len(whole.words_to_objects) == config.x_layers


@pytest.mark.parametrize("model_class", [LxmertForQuestionAnswering, LxmertForVisualReasoning])
def test_last_x_layer_runs_object_branch_only_for_states_or_maps(model_class: Any) -> None:
    model = model_class(small_config()).eval()
    runs: list[str] = []
    last = model.lxmert.encoder.x_layers[-1]
    for name in ("visn_self_att", "visn_inter", "visn_output"):
        last.get_submodule(name).register_forward_hook(lambda *_, name=name: runs.append(name))
    model(**batch_for(model))
    assert runs == []
    for wanted in ("output_hidden_states", "output_attentions", "output_all_attentions"):
        model(**batch_for(model), **{wanted: True})
        assert runs == ["visn_self_att", "visn_inter", "visn_output"], wanted
        runs.clear()


@pytest.mark.parametrize("model_class", [LxmertForQuestionAnswering, LxmertForVisualReasoning])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_scores_and_gradients_equal_those_of_full_computation(model_class: Any, checkpointing: bool) -> None:
    torch.manual_seed(1)
    model = model_class(small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).train()
    if checkpointing:
        enable_checkpointing(model)
    given = batch_for(model)
    whole = model(**given, labels=CLASSES, output_hidden_states=True)
    first = gradients(model, whole.loss)
    quick = model(**given, labels=CLASSES)
    second = gradients(model, quick.loss)
    torch.testing.assert_close(quick.to_tuple()[1], whole.to_tuple()[1], rtol=1e-5, atol=1e-6)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_last_x_layer_computes_first_word_only_and_no_objects() -> None:
    model = LxmertForQuestionAnswering(small_config()).eval()
    seen: list[tuple[str, tuple[int, ...]]] = []
    for number, layer in enumerate(model.lxmert.encoder.x_layers):
        assert isinstance(layer, LxmertXLayer)
        for name in ("lang_inter", "visn_inter"):
            note = f"{name} {number}"
            getattr(layer, name).register_forward_hook(
                lambda _, given, __, note=note: seen.append((note, tuple(given[0].shape[:2])))
            )
    model(**inputs())
    assert seen[-1] == ("lang_inter 2", (BATCH, 1))
    assert "visn_inter 2" not in dict(seen)
    assert "visn_inter 1" in dict(seen)

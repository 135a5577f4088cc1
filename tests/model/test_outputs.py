"""What the models return: fields, order, shapes, values."""

import inspect
import math

import pytest
import torch

from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from tests.model.small import BATCH, OBJECTS, WORDS, inputs, small_config, targets

STATES = ["language_hidden_states", "vision_hidden_states"]
MAPS = ["language_attentions", "vision_attentions", "cross_encoder_attentions"]
NEW_MAPS = [
    "vision_to_language_attentions",
    "cross_language_self_attentions",
    "cross_vision_self_attentions",
]
TEXT_AND_IMAGE = [
    "input_ids",
    "visual_feats",
    "visual_pos",
    "attention_mask",
    "visual_attention_mask",
    "token_type_ids",
    "inputs_embeds",
]
SWITCHES = ["output_attentions", "output_hidden_states", "return_dict", "output_all_attentions"]


@pytest.mark.parametrize(
    ("model", "own"),
    [
        (LxmertModel, []),
        (LxmertForPreTraining, ["labels", "obj_labels", "matched_label", "ans"]),
        (LxmertForQuestionAnswering, ["labels"]),
    ],
)
def test_forward_arguments_are_in_documented_order(model: type, own: list[str]) -> None:
    names = [name for name in inspect.signature(model.forward).parameters if name not in ("self", "unknown")]
    last = {
        LxmertModel: ["pooled_only", "object_states", "word_states"],
        LxmertForPreTraining: ["return_all_logits"],
        LxmertForQuestionAnswering: ["object_states", "word_states"],
    }[model]
    assert names == TEXT_AND_IMAGE + own + SWITCHES + last


def test_base_model_returns_the_documented_fields_in_order() -> None:
    config = small_config()
    output = LxmertModel(config).eval()(**inputs(), output_all_attentions=True, output_hidden_states=True)
    assert list(output) == ["language_output", "vision_output", "pooled_output", *STATES, *MAPS, *NEW_MAPS]
    heads, hidden = config.num_attention_heads, config.hidden_size
    assert output.language_output.shape == (BATCH, WORDS, hidden)
    assert output.vision_output.shape == (BATCH, OBJECTS, hidden)
    assert output.pooled_output.shape == (BATCH, hidden)
    assert [t.shape for t in output.language_hidden_states] == [(BATCH, WORDS, hidden)] * 5
    assert [t.shape for t in output.vision_hidden_states] == [(BATCH, OBJECTS, hidden)] * 4
    assert [t.shape for t in output.language_attentions] == [(BATCH, heads, WORDS, WORDS)] * 2
    assert [t.shape for t in output.vision_attentions] == [(BATCH, heads, OBJECTS, OBJECTS)]
    assert [t.shape for t in output.cross_encoder_attentions] == [(BATCH, heads, WORDS, OBJECTS)] * 3
    assert [t.shape for t in output.vision_to_language_attentions] == [(BATCH, heads, OBJECTS, WORDS)] * 3
    assert [t.shape for t in output.cross_language_self_attentions] == [(BATCH, heads, WORDS, WORDS)] * 3
    assert [t.shape for t in output.cross_vision_self_attentions] == [(BATCH, heads, OBJECTS, OBJECTS)] * 3


@pytest.mark.parametrize("field", MAPS + NEW_MAPS)
def test_attention_maps_are_probabilities_and_hide_padding(field: str) -> None:
    output = LxmertModel(small_config()).eval()(**inputs(), output_all_attentions=True)
    for weights in output[field]:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        if weights.shape[-1] == WORDS:
            assert weights[1, ..., 4:].abs().max() == 0
            assert weights[1, ..., :4].min() > 0
        else:
            assert weights[2, ..., 3:].abs().max() == 0
            assert weights[2, ..., :3].min() > 0


@pytest.mark.parametrize("model_class", [LxmertModel, LxmertForPreTraining, LxmertForQuestionAnswering])
def test_transformers_maps_come_last_and_output_all_attentions_appends_new_maps(model_class: type) -> None:
    model = model_class(small_config()).eval()
    known = model(**inputs(), output_attentions=True)
    assert list(known)[-3:] == MAPS
    every = model(**inputs(), output_attentions=False, output_all_attentions=True)
    assert list(every) == [*known, *NEW_MAPS]
    torch.testing.assert_close(every.to_tuple()[: len(known)], known.to_tuple())


def test_pretraining_returns_the_documented_fields_in_order() -> None:
    model = LxmertForPreTraining(small_config()).eval()
    scores = ["prediction_logits", "cross_relationship_score", "question_answering_score"]
    flags = {"output_all_attentions": True, "output_hidden_states": True}
    assert list(model(**inputs())) == scores
    output = model(**inputs(), **targets(), **flags)
    assert list(output) == ["loss", *scores, *STATES, *MAPS, *NEW_MAPS, "losses", "object_scores"]
    assert list(output.losses) == ["masked_lm", "matched", "obj", "attr", "feat", "qa"]
    assert output.prediction_logits.shape == (BATCH, WORDS, 61)
    assert output.cross_relationship_score.shape == (BATCH, 2)
    assert output.question_answering_score.shape == (BATCH, 9)
    shapes = {task: tuple(scores.shape) for task, scores in output.object_scores.items()}
    assert shapes == {"obj": (BATCH, OBJECTS, 11), "attr": (BATCH, OBJECTS, 6), "feat": (BATCH, OBJECTS, 13)}


def test_question_answering_returns_the_documented_fields_in_order() -> None:
    model = LxmertForQuestionAnswering(small_config()).eval()
    assert list(model(**inputs())) == ["question_answering_score"]
    flags = {"output_all_attentions": True, "output_hidden_states": True}
    output = model(**inputs(), labels=torch.tensor([1, 2, 3]), **flags)
    assert list(output) == ["loss", "question_answering_score", *STATES, *MAPS, *NEW_MAPS, "losses"]
    assert output.losses == {"qa": output.loss}


def test_figures_by_task_have_names_but_no_positions() -> None:
    output = LxmertForPreTraining(small_config()).eval()(**inputs(), **targets())
    assert list(output)[-2:] == ["losses", "object_scores"]
    assert output["losses"] is output.losses
    assert output[-1] is output.to_tuple()[-1] is output.question_answering_score


@pytest.mark.parametrize("model_class", [LxmertModel, LxmertForPreTraining, LxmertForQuestionAnswering])
@pytest.mark.parametrize("by_configuration", [True, False])
def test_return_dict_false_returns_same_values_in_same_order(
    model_class: type, by_configuration: bool
) -> None:
    model = model_class(small_config()).eval()
    expected = model(**inputs(), output_all_attentions=True, output_hidden_states=True)
    if by_configuration:
        model.config.return_dict = False
        model.config.output_attentions = True
        model.config.output_hidden_states = True
        got = model(**inputs())
        expected = model(**inputs(), return_dict=True)
    else:
        got = model(**inputs(), output_all_attentions=True, output_hidden_states=True, return_dict=False)
    assert isinstance(got, tuple)
    torch.testing.assert_close(got, expected.to_tuple(), rtol=0, atol=0)


def test_hidden_states_are_the_layers_outputs_and_not_the_embeddings() -> None:
    model = LxmertModel(small_config()).eval()
    seen: dict[str, list[torch.Tensor]] = {"words": [], "objects": []}
    for layer in model.encoder.layer:
        layer.register_forward_hook(lambda _m, _i, out: seen["words"].append(out[0]))
    for layer in model.encoder.r_layers:
        layer.register_forward_hook(lambda _m, _i, out: seen["objects"].append(out[0]))
    for layer in model.encoder.x_layers:
        layer.register_forward_hook(lambda _m, _i, out: seen["words"].append(out[0]))
        layer.register_forward_hook(lambda _m, _i, out: seen["objects"].append(out[1]))
    output = model(**inputs(), output_hidden_states=True)
    assert all(a is b for a, b in zip(output.language_hidden_states, seen["words"], strict=True))
    assert all(a is b for a, b in zip(output.vision_hidden_states, seen["objects"], strict=True))
    assert output.language_hidden_states[-1] is output.language_output
    assert output.vision_hidden_states[-1] is output.vision_output


@pytest.mark.parametrize(
    "absent", [("l_layers",), ("r_layers",), ("x_layers",), ("l_layers", "x_layers", "r_layers")]
)
def test_encoders_without_layers_pass_their_input_on(absent: tuple[str, ...]) -> None:
    config = small_config(**dict.fromkeys(absent, 0))
    model = LxmertModel(config).eval()
    output = model(**inputs(), output_hidden_states=True, output_all_attentions=True)
    assert len(output.language_hidden_states) == config.l_layers + config.x_layers
    assert len(output.vision_hidden_states) == config.r_layers + config.x_layers
    assert len(output.cross_encoder_attentions) == len(output.cross_vision_self_attentions) == config.x_layers
    if len(absent) == 3:
        batch = inputs()
        words = model.embeddings(batch["input_ids"], batch["token_type_ids"])
        torch.testing.assert_close(output.language_output, words)
        objects = model.encoder.visn_fc(batch["visual_feats"], batch["visual_pos"])
        torch.testing.assert_close(output.vision_output, objects)


def test_inputs_embeds_give_same_outputs_as_input_ids() -> None:
    model = LxmertModel(small_config()).eval()
    batch = inputs()
    by_ids = model(**batch)
    vectors = model.get_input_embeddings()(batch.pop("input_ids"))
    by_vectors = model(inputs_embeds=vectors, **batch)
    torch.testing.assert_close(by_vectors.to_tuple(), by_ids.to_tuple())


def test_padding_does_not_change_states_of_real_words_and_objects() -> None:
    model = LxmertModel(small_config()).eval()
    batch = inputs()
    padded = model(**batch)
    alone = model(
        input_ids=batch["input_ids"][1:2, :4],
        visual_feats=batch["visual_feats"][1:2],
        visual_pos=batch["visual_pos"][1:2],
    )
    torch.testing.assert_close(padded.language_output[1:2, :4], alone.language_output)
    torch.testing.assert_close(padded.vision_output[1:2], alone.vision_output)
    fewer = model(
        input_ids=batch["input_ids"][2:],
        visual_feats=batch["visual_feats"][2:, :3],
        visual_pos=batch["visual_pos"][2:, :3],
    )
    torch.testing.assert_close(padded.pooled_output[2:], fewer.pooled_output)


def test_model_accepts_any_visual_feat_dim_and_visual_pos_dim() -> None:
    config = small_config(visual_feat_dim=3, visual_pos_dim=1)
    output = LxmertModel(config)(**inputs(config))
    assert output.vision_output.shape == (BATCH, OBJECTS, config.hidden_size)


def test_answer_head_uses_exact_gelu() -> None:
    gelu = LxmertForQuestionAnswering(small_config()).answer_head.logit_fc[1]
    assert gelu(torch.tensor(2.0)).item() == pytest.approx(1 + math.erf(math.sqrt(2)), abs=1e-6)

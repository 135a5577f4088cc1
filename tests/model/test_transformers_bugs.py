"""A test for each fault of transformers' LXMERT that is absent here; numbers as in docs/compatibility.md."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lxmert.configuration import LxmertConfig
from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from lxmert.model.embeddings import LxmertEmbeddings
from tests.model.small import OBJECTS, WORDS, inputs, small_config, targets


def test_01_inputs_embeds_work_with_object_labels() -> None:
    model = LxmertForPreTraining(small_config()).eval()
    batch = inputs()
    expected = model(**batch, obj_labels=targets()["obj_labels"]).loss
    vectors = model.get_input_embeddings()(batch.pop("input_ids"))
    got = model(inputs_embeds=vectors, **batch, obj_labels=targets()["obj_labels"]).loss
    torch.testing.assert_close(got, expected)


def test_02_output_attentions_false_overrides_config() -> None:
    model = LxmertModel(small_config(output_attentions=True)).eval()
    assert model(**inputs()).language_attentions is not None
    refused = model(**inputs(), output_attentions=False)
    assert refused.language_attentions is None
    assert refused.cross_encoder_attentions is None


@pytest.mark.parametrize(
    ("size", "multiple", "expected"), [(70, 32, 96), (40, 8, 40), (None, 64, 64), (33, 10, 40)]
)
def test_03_resize_token_embeddings_pads_to_multiple(size: int | None, multiple: int, expected: int) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    embedding = model.resize_token_embeddings(size, pad_to_multiple_of=multiple)
    head = model.cls.predictions
    assert embedding.num_embeddings == expected == model.config.vocab_size
    assert head.bias.shape == (expected,)
    assert head.decoder.weight is model.lxmert.embeddings.word_embeddings.weight
    assert head.decoder.out_features == expected
    batch = inputs(small_config(vocab_size=min(expected, 61)))
    assert model(**batch).prediction_logits.shape[-1] == expected


@pytest.mark.parametrize("size", [70, 50])
def test_04_resize_token_embeddings_resizes_untied_word_head(size: int) -> None:
    model = LxmertForPreTraining(small_config(tie_word_embeddings=False)).eval()
    decoder = model.cls.predictions.decoder.weight.detach().clone()
    model.resize_token_embeddings(size)
    head = model.cls.predictions
    assert head.decoder.weight is not model.lxmert.embeddings.word_embeddings.weight
    assert head.decoder.weight.shape == (size, 24)
    torch.testing.assert_close(head.decoder.weight[:50], decoder[:50])
    assert model(**inputs(small_config(vocab_size=50))).prediction_logits.shape[-1] == size


def test_05_resize_token_embeddings_without_argument_returns_embedding() -> None:
    model = LxmertForPreTraining(small_config())
    bias = model.cls.predictions.bias.detach().clone()
    assert model.resize_token_embeddings() is model.lxmert.embeddings.word_embeddings
    torch.testing.assert_close(model.cls.predictions.bias, nn.Parameter(bias))
    assert model.config.vocab_size == 61


@pytest.mark.parametrize("size", [70, 50])
def test_06_resizing_words_keeps_dtype_and_frozenness_of_the_bias(size: int) -> None:
    model = LxmertForPreTraining(small_config()).bfloat16().eval()
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.arange(61))
    model.cls.predictions.bias.requires_grad_(False)
    model.resize_token_embeddings(size)
    bias = model.cls.predictions.bias
    assert bias.dtype == torch.bfloat16
    assert not bias.requires_grad
    kept = min(size, 61)
    assert bias[:kept].tolist() == [float(i) for i in range(kept)]
    assert bias[kept:].tolist() == [0.0] * (size - kept)
    assert model(**inputs(small_config(vocab_size=50))).prediction_logits.dtype == torch.bfloat16


@pytest.mark.parametrize("model_class", [LxmertForPreTraining, LxmertForQuestionAnswering])
def test_07_resizing_answers_keeps_the_dtype(model_class: type) -> None:
    model = model_class(small_config()).bfloat16().eval()
    layer = model.resize_num_qa_labels(20)
    assert layer.weight.dtype == layer.bias.dtype == torch.bfloat16
    assert model(**inputs()).question_answering_score.shape == (3, 20)


@pytest.mark.parametrize("model_class", [LxmertForPreTraining, LxmertForQuestionAnswering])
def test_08_resizing_answers_to_none_returns_the_layer(model_class: type) -> None:
    model = model_class(small_config())
    layer = model.get_qa_logit_layer()
    assert isinstance(layer, nn.Linear)
    assert model.resize_num_qa_labels(None) is layer
    assert model.resize_num_qa_labels() is layer
    assert layer.out_features == model.config.num_qa_labels == 9


def test_09_output_embeddings_can_be_read_and_replaced() -> None:
    model = LxmertForPreTraining(small_config(tie_word_embeddings=False)).eval()
    assert model.get_output_embeddings() is model.cls.predictions.decoder
    new = nn.Linear(24, 64, bias=False)
    model.set_output_embeddings(new)
    assert model.get_output_embeddings() is new
    assert model(**inputs()).prediction_logits.shape[-1] == 64


@pytest.mark.parametrize(
    ("model_class", "wrong", "nearest"),
    [
        (LxmertModel, "visual_atention_mask", "visual_attention_mask"),
        (LxmertForPreTraining, "masked_lm_labels", "labels"),
        (LxmertForPreTraining, "match_label", "matched_label"),
        (LxmertForQuestionAnswering, "label", "labels"),
    ],
)
def test_10_unknown_argument_raises_type_error_naming_nearest(
    model_class: type, wrong: str, nearest: str
) -> None:
    with pytest.raises(TypeError, match=f"{model_class.__name__}.*'{wrong}'.*'{nearest}'"):
        model_class(small_config())(**inputs(), **{wrong: torch.ones(3)})


@pytest.mark.parametrize("model_class", [LxmertModel, LxmertForPreTraining, LxmertForQuestionAnswering])
def test_10_unknown_argument_of_value_none_is_ignored(model_class: type) -> None:
    model = model_class(small_config()).eval()
    # As PEFT's wrapper of question answering models calls them.
    got = model(**inputs(), start_positions=None, end_positions=None)
    torch.testing.assert_close(got.to_tuple(), model(**inputs()).to_tuple())


def test_11_one_hot_and_soft_answers_are_targets() -> None:
    model = LxmertForPreTraining(small_config()).eval()
    one_hot = nn.functional.one_hot(torch.tensor([4, 0, 8]), 9)
    soft = one_hot * 0.6
    scores = model(**inputs()).question_answering_score
    for target in (one_hot, soft):
        p, t = scores.double().sigmoid(), target.double()
        expected = -(t * p.log() + (1 - t) * (1 - p).log()).sum() / 3
        got = model(**inputs(), ans=target).loss
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_12_task_qa_false_gives_no_answer_score_and_zero_loss() -> None:
    model = LxmertForPreTraining(small_config(task_qa=False))
    output = model(**inputs(), ans=torch.tensor([0, 1, 2]))
    assert output.question_answering_score is None
    assert output.loss.item() == 0
    assert output.losses == {}
    output.loss.backward()
    assert model.lxmert.pooler.dense.weight.grad is not None


@pytest.mark.parametrize("task", ["obj", "attr", "feat"])
def test_13_object_labels_may_be_partial(task: str) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    labels = targets()["obj_labels"]
    alone = model(**inputs(), obj_labels={task: labels[task]})
    assert list(alone.losses) == [task]
    torch.testing.assert_close(alone.loss, model(**inputs(), obj_labels=labels).losses[task])


def test_14_num_hidden_layers_follows_overridden_l_layers(tmp_path: Path) -> None:
    LxmertModel(small_config()).save_pretrained(tmp_path)
    model = LxmertModel.from_pretrained(tmp_path, l_layers=1)
    assert model.config.num_hidden_layers["language"] == 1 == len(model.encoder.layer)


def test_15_every_normalisation_uses_layer_norm_eps() -> None:
    model = LxmertForPreTraining(small_config(layer_norm_eps=0.125))
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    # embeddings 1, objects 2, l and r layers 2 each, x layers 1 + 2 + 2, masked-word, object and answer head
    assert len(norms) == 1 + 2 + 3 * 2 + 3 * 5 + 3
    assert {norm.eps for norm in norms} == {0.125}
    other = LxmertForPreTraining(small_config())
    other.load_state_dict(model.state_dict())
    assert not torch.allclose(model.eval()(**inputs())[0], other.eval()(**inputs())[0], atol=1e-3)


@pytest.mark.parametrize("absent", [{"l_layers": 0, "x_layers": 0}, {"r_layers": 0, "x_layers": 0}])
def test_16_encoders_may_have_no_layer(absent: dict[str, int]) -> None:
    model = LxmertForPreTraining(small_config(**absent))
    model(**inputs(), **targets()).loss.backward()


def test_17_embeddings_default_token_type_ids_to_zero() -> None:
    embeddings = LxmertEmbeddings(small_config()).eval()
    ids = inputs()["input_ids"]
    torch.testing.assert_close(embeddings(ids), embeddings(ids, torch.zeros_like(ids)))


def test_18_only_word_embedding_has_padding_row() -> None:
    model = LxmertForPreTraining(small_config(tie_word_embeddings=False, pad_token_id=2))
    embeddings = model.lxmert.embeddings
    assert embeddings.word_embeddings.weight[2].abs().max() == 0
    assert embeddings.word_embeddings.weight[0].abs().min() > 0
    assert embeddings.position_embeddings.weight[0].abs().max() > 0
    assert embeddings.token_type_embeddings.weight[0].abs().max() > 0
    batch = inputs()
    batch["input_ids"][:, -1] = 2
    model(**batch, labels=batch["input_ids"]).loss.backward()
    assert embeddings.word_embeddings.weight.grad[2].abs().max() == 0
    assert embeddings.position_embeddings.weight.grad[0].abs().max() > 0
    assert embeddings.token_type_embeddings.weight.grad[0].abs().max() > 0
    assert LxmertEmbeddings(small_config()).word_embeddings.padding_idx == 0


def test_19_numbers_of_states_and_maps_are_as_documented() -> None:
    config = small_config()
    output = LxmertModel(config).eval()(**inputs(), output_hidden_states=True, output_attentions=True)
    assert len(output.language_hidden_states) == config.l_layers + config.x_layers
    assert len(output.vision_hidden_states) == config.r_layers + config.x_layers
    assert len(output.language_attentions) == config.l_layers
    assert len(output.vision_attentions) == config.r_layers
    assert len(output.cross_encoder_attentions) == config.x_layers
    assert output.cross_encoder_attentions[0].shape[-2:] == (WORDS, OBJECTS)
    assert "visual_attention_mask: (B, O)" in (LxmertModel.forward.__doc__ or "")


def test_20_targets_of_padded_objects_do_not_change_losses() -> None:
    model = LxmertForPreTraining(small_config()).eval()
    batch = inputs()
    obj_labels = targets()["obj_labels"]
    reference = model(**batch, obj_labels=obj_labels).losses
    spoilt = {task: (label.clone(), weight.clone()) for task, (label, weight) in obj_labels.items()}
    for task, (label, weight) in spoilt.items():
        label[2, 3:] = float("nan") if task == "feat" else 10**6
        weight[2, 3:] = 1000.0
    torch.testing.assert_close(model(**batch, obj_labels=spoilt).losses, reference, rtol=0, atol=0)


def test_20_extra_padded_objects_do_not_change_losses() -> None:
    model = LxmertForPreTraining(small_config()).eval()
    batch = {name: tensor[2:] for name, tensor in inputs().items()}
    labels = {task: (a[2:], b[2:]) for task, (a, b) in targets()["obj_labels"].items()}
    padded = model(**batch, obj_labels=labels).losses
    for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
        batch[name] = batch[name][:, :3]
    cut = {task: (a[:, :3], b[:, :3]) for task, (a, b) in labels.items()}
    torch.testing.assert_close(padded, model(**batch, obj_labels=cut).losses)


@pytest.mark.parametrize("ignored", [-100, -1])
def test_20_no_labels_give_zero_loss_and_zero_gradients(ignored: int) -> None:
    model = LxmertForPreTraining(small_config())
    nothing = torch.full((3,), ignored)
    objects = torch.full((3, OBJECTS), ignored)
    output = model(
        **inputs(),
        labels=torch.full((3, WORDS), ignored),
        matched_label=nothing,
        ans=nothing,
        obj_labels={"obj": (objects, torch.ones(3, OBJECTS)), "attr": (objects, torch.ones(3, OBJECTS))},
    )
    assert {task: loss.item() for task, loss in output.losses.items()} == dict.fromkeys(output.losses, 0.0)
    assert len(output.losses) == 5
    output.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.abs().max() == 0, name


def test_21_sdpa_checkpointing_and_task_losses_are_supported() -> None:
    model = LxmertForPreTraining(LxmertConfig(**small_config().to_diff_dict()))
    assert model.config._attn_implementation == "sdpa"
    assert model.supports_gradient_checkpointing
    assert set(model(**inputs(), **targets()).losses) == {"masked_lm", "matched", "obj", "attr", "feat", "qa"}


def test_22_match_logit_1_means_match() -> None:
    torch.manual_seed(0)
    model = LxmertForPreTraining(small_config(l_layers=1, r_layers=1, x_layers=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    label = torch.tensor([0, 1, 1])
    for _ in range(30):
        optimizer.zero_grad()
        model(**inputs(), matched_label=label).loss.backward()
        optimizer.step()
    probability = model.eval()(**inputs()).cross_relationship_score.softmax(-1)
    assert probability[0, 0] > 0.9
    assert probability[1:, 1].min() > 0.9

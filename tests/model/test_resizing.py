"""Resizing of word embeddings and answer heads."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lxmert.errors import ConfigurationError
from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from tests.model.small import inputs, small_config, targets

WITH_ANSWERS = [LxmertForPreTraining, LxmertForQuestionAnswering]


@pytest.mark.parametrize("model_class", WITH_ANSWERS)
@pytest.mark.parametrize("size", [4, 9, 20])
def test_resize_num_qa_labels_keeps_existing_scores(model_class: type, size: int) -> None:
    model = model_class(small_config()).eval()
    before = model(**inputs()).question_answering_score
    with torch.no_grad():
        model.get_qa_logit_layer().bias.copy_(torch.arange(9))
    layer = model.resize_num_qa_labels(size)
    assert layer is model.get_qa_logit_layer()
    assert layer.out_features == model.num_qa_labels == model.config.num_qa_labels == size
    scores = model(**inputs()).question_answering_score
    assert scores.shape == (3, size)
    kept = min(9, size)
    torch.testing.assert_close(scores[:, :kept], before[:, :kept] + torch.arange(kept))
    assert layer.bias[kept:].abs().sum() == 0
    if size > 9:
        assert 0 < layer.weight[9:].std() < 0.05


@pytest.mark.parametrize("model_class", WITH_ANSWERS)
def test_resized_answer_head_gives_loss_and_gradient(model_class: type) -> None:
    model = model_class(small_config())
    model.resize_num_qa_labels(20)
    name = "ans" if model_class is LxmertForPreTraining else "labels"
    model(**inputs(), **{name: torch.tensor([19, 12, 0])}).loss.backward()
    assert model.get_qa_logit_layer().weight.grad.shape == (20, 48)


def test_resize_num_qa_labels_keeps_frozen_parameters() -> None:
    model = LxmertForQuestionAnswering(small_config())
    model.get_qa_logit_layer().weight.requires_grad_(False)
    layer = model.resize_num_qa_labels(12)
    assert not layer.weight.requires_grad
    assert layer.bias.requires_grad


@pytest.mark.parametrize("size", [0, -3, 2.0, True, "4"])
def test_invalid_num_qa_labels_raises_configuration_error(size: object) -> None:
    with pytest.raises(ConfigurationError, match="num_labels must be an integer of at least 1"):
        LxmertForQuestionAnswering(small_config()).resize_num_qa_labels(size)


def test_model_without_answer_head_has_no_answer_layer() -> None:
    model = LxmertForPreTraining(small_config(task_qa=False))
    assert model.get_qa_logit_layer() is None
    assert model.resize_num_qa_labels(5) is None
    assert model.config.num_qa_labels == 9


@pytest.mark.parametrize("size", [40, 80])
def test_resize_token_embeddings_keeps_scores_of_existing_words(size: int) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.arange(61))
    batch = inputs(small_config(vocab_size=40))
    with torch.no_grad():
        before = model(**batch).prediction_logits
    model.resize_token_embeddings(size)
    after = model(**batch).prediction_logits
    kept = min(61, size)
    assert after.shape[-1] == size
    torch.testing.assert_close(after[..., :kept], before[..., :kept])
    labels = torch.full((3, 7), size - 1)
    model(**batch, labels=labels).loss.backward()
    assert model.cls.predictions.bias.grad.shape == (size,)


@pytest.mark.parametrize("model_class", [LxmertModel, LxmertForQuestionAnswering])
def test_models_without_word_head_resize_token_embeddings(model_class: type) -> None:
    model = model_class(small_config()).eval()
    assert model.resize_token_embeddings(70).num_embeddings == 70
    batch = inputs()
    batch["input_ids"][0, 0] = 69
    model(**batch)


def test_resized_model_saves_and_loads(tmp_path) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    model.resize_token_embeddings(70)
    model.resize_num_qa_labels(4)
    model.save_pretrained(tmp_path)
    again, report = LxmertForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(again(**inputs())[0], model(**inputs())[0])
    assert again.config.num_qa_labels == 4
    again(**inputs(), **(targets() | {"ans": torch.tensor([0, 3, 1])}))


@pytest.mark.parametrize("model_class", [LxmertModel, *WITH_ANSWERS])
@pytest.mark.parametrize(("size", "multiple"), [(30, None), (12, None), (0, None), (17, 8)])
def test_resize_that_drops_padding_word_raises_configuration_error(
    model_class: type, size: int, multiple: int | None
) -> None:
    model = model_class(small_config(pad_token_id=30))
    with pytest.raises(ConfigurationError, match="drops the padding word of id 30; use at least 31"):
        model.resize_token_embeddings(size, pad_to_multiple_of=multiple)
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == 61
    assert model.resize_token_embeddings(17, pad_to_multiple_of=32).num_embeddings == 32
    assert model.resize_token_embeddings(31).num_embeddings == 31
    model.config.validate()


def test_resize_to_zero_words_raises_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="padding word of id 0; use at least 1"):
        LxmertModel(small_config()).resize_token_embeddings(0)


@pytest.mark.parametrize(("tied", "learns"), [(True, True), (False, False)])
def test_padding_word_gets_gradient_only_from_tied_word_head(tied: bool, learns: bool) -> None:
    model = LxmertForPreTraining(small_config(tie_word_embeddings=tied))
    batch = inputs()
    batch["input_ids"][:, -1] = 0
    model(**batch, labels=batch["input_ids"]).loss.backward()
    row = model.lxmert.embeddings.word_embeddings.weight.grad[0]
    assert bool(row.abs().sum() > 0) is learns


def test_set_input_embeddings_resizes_tied_word_head(tmp_path) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.arange(61))
    model.cls.predictions.bias.requires_grad_(False)
    model.set_input_embeddings(torch.nn.Embedding(70, 24))
    head = model.cls.predictions
    assert head.decoder.weight is model.get_input_embeddings().weight
    assert head.bias.tolist() == [*range(61), *[0] * 9]
    assert not head.bias.requires_grad
    labels = torch.full((3, 7), 69)
    before = model(**inputs(), labels=labels)
    assert before.prediction_logits.shape[-1] == model.config.vocab_size == 70
    model.save_pretrained(tmp_path)
    after = LxmertForPreTraining.from_pretrained(tmp_path)(**inputs(), labels=labels)
    torch.testing.assert_close(after.prediction_logits, before.prediction_logits)


def test_set_input_embeddings_keeps_untied_word_head() -> None:
    model = LxmertForPreTraining(small_config(tie_word_embeddings=False)).eval()
    own = model.get_output_embeddings().weight
    model.set_input_embeddings(torch.nn.Embedding(70, 24))
    assert model.get_output_embeddings().weight is own
    assert model(**inputs()).prediction_logits.shape[-1] == 61


def test_tie_weights_after_inner_resize_resizes_word_head_bias() -> None:
    model = LxmertForPreTraining(small_config()).eval()
    model.lxmert.resize_token_embeddings(70)
    model.tie_weights()
    assert model(**inputs()).prediction_logits.shape[-1] == 70


@pytest.mark.parametrize("model_class", [LxmertModel, *WITH_ANSWERS])
def test_wrapped_word_embedding_gives_same_outputs(model_class: type) -> None:
    model = model_class(small_config()).eval()
    before = model(**inputs())[0]
    model.set_input_embeddings(torch.nn.Sequential(model.get_input_embeddings()))
    torch.testing.assert_close(model(**inputs())[0], before)
    assert model.config.vocab_size == 61


def test_resize_num_qa_labels_to_numpy_integer_can_be_saved(tmp_path: Path) -> None:
    model = LxmertForQuestionAnswering(small_config())
    model.resize_num_qa_labels(np.arange(12).max())
    model.save_pretrained(tmp_path)
    assert LxmertForQuestionAnswering.from_pretrained(tmp_path).num_qa_labels == 11

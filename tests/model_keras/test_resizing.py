"""Resizing words and answers of a built Keras model; existing entries keep their weights."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lxmert import (  # noqa: E402
    LxmertForPreTraining,
    TFLxmertForPreTraining,
    TFLxmertForQuestionAnswering,
    TFLxmertModel,
)
from lxmert.errors import ConfigurationError, TensorError  # noqa: E402
from lxmert.model_keras.resizing import resized  # noqa: E402
from tests.model.small import BATCH, WORDS, inputs, small_config  # noqa: E402

WORD_KEY = "lxmert.embeddings.word_embeddings.weight"


def one_layer_config(**changes: Any) -> Any:
    return small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.0, **changes)


def batch() -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in inputs().items()}


def values(model: Any, name: str) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model.torch_variables()[name].variable))


@pytest.mark.parametrize(("size", "axis"), [(2, 0), (5, 0), (2, 1), (7, 1)])
def test_resized_keeps_first_entries_and_appends_given_ones(size: int, axis: int) -> None:
    old = np.arange(12.0).reshape(3, 4)
    shape = [3, 4]
    shape[axis] = size
    result = resized(old, size, axis, np.full(shape, -1.0))
    assert result.shape == tuple(shape)
    both = min(size, old.shape[axis])
    np.testing.assert_array_equal(np.take(result, range(both), axis), np.take(old, range(both), axis))
    assert (np.take(result, range(both, size), axis) == -1).all()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [40, 75])
def test_resize_token_embeddings_resizes_word_head_matrix_and_bias(size: int, tied: bool) -> None:
    model = TFLxmertForPreTraining(one_layer_config(tie_word_embeddings=tied))
    bias = np.arange(61.0, dtype=np.float32)
    model.get_bias()["bias"].assign(bias)
    given = batch() | {"input_ids": batch()["input_ids"] % 40}
    old = keras.ops.convert_to_numpy(model(given).prediction_logits)
    words = values(model, WORD_KEY)
    count = len(model.trainable_variables)

    layer = model.resize_token_embeddings(size)

    assert layer is model.get_input_embeddings()
    assert model.config.vocab_size == model.lxmert.config.vocab_size == size
    both = min(size, 61)
    np.testing.assert_array_equal(values(model, WORD_KEY)[:both], words[:both])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.get_bias()["bias"])[:both], bias[:both])
    assert (values(model, "cls.predictions.bias")[both:] == 0).all()
    scores = keras.ops.convert_to_numpy(model(given).prediction_logits)
    assert scores.shape == (BATCH, WORDS, size)
    np.testing.assert_allclose(scores[..., :both], old[..., :both], atol=1e-5)
    assert len(model.trainable_variables) == count
    assert sum(variable.shape == (61, 24) for variable in model.trainable_variables) == 0
    if size > 61:
        spread = values(model, WORD_KEY)[61:].std()
        assert 0.5 * 0.02 < spread < 2 * 0.02


def test_ids_are_checked_against_the_new_number_of_words() -> None:
    model = TFLxmertModel(one_layer_config())
    model.resize_token_embeddings(80)
    given = batch()
    given["input_ids"][0, 0] = 79
    model(given)
    given["input_ids"][0, 0] = 80
    with pytest.raises(TensorError):
        model(given)
    model.resize_token_embeddings(50)
    given["input_ids"][:] = 49
    model(given)
    given["input_ids"][0, 0] = 50
    with pytest.raises(TensorError):
        model(given)


def test_resizing_without_number_changes_nothing() -> None:
    model = TFLxmertForQuestionAnswering(one_layer_config())
    before = model.get_input_embeddings().embeddings
    assert model.resize_token_embeddings() is model.get_input_embeddings()
    assert model.resize_token_embeddings(61).embeddings is before
    assert model.resize_num_qa_labels() is model.get_qa_logit_layer()
    assert model.num_qa_labels == 9


@pytest.mark.parametrize("size", [3, 14])
def test_resize_num_qa_labels_keeps_existing_scores(size: int) -> None:
    model = TFLxmertForQuestionAnswering(one_layer_config())
    old = keras.ops.convert_to_numpy(model(batch()).question_answering_score)
    layer = model.resize_num_qa_labels(size)
    assert layer is model.get_qa_logit_layer()
    assert layer.units == model.num_qa_labels == size
    new = keras.ops.convert_to_numpy(model(batch()).question_answering_score)
    assert new.shape == (BATCH, size)
    both = min(size, 9)
    np.testing.assert_allclose(new[:, :both], old[:, :both], atol=1e-6)


def test_model_without_answer_head_has_none_to_resize() -> None:
    model = TFLxmertForPreTraining(one_layer_config(task_qa=False))
    assert model.get_qa_logit_layer() is None
    assert model.resize_num_qa_labels(3) is None
    assert TFLxmertModel(one_layer_config()).get_bias() is None


@pytest.mark.parametrize("number", [0, -3, 2.0, True, "7"])
def test_resizing_to_invalid_number_raises_configuration_error(number: Any) -> None:
    model = TFLxmertForQuestionAnswering(one_layer_config())
    with pytest.raises(ConfigurationError, match="num_labels must be an integer"):
        model.resize_num_qa_labels(number)
    with pytest.raises(ConfigurationError, match="new_num_tokens must be an integer"):
        model.resize_token_embeddings(number)
    assert model.config == one_layer_config()


def test_resize_that_drops_padding_word_raises_configuration_error() -> None:
    model = TFLxmertModel(one_layer_config(pad_token_id=30))
    with pytest.raises(ConfigurationError, match="padding word of id 30"):
        model.resize_token_embeddings(30)
    model.resize_token_embeddings(31)


@pytest.mark.parametrize("as_layer", [True, False])
def test_set_input_embeddings_sets_vocab_size_and_word_head_size(as_layer: bool) -> None:
    model = TFLxmertForPreTraining(one_layer_config())
    vectors = np.random.default_rng(0).normal(size=(70, 24)).astype(np.float32)
    layer = keras.layers.Embedding(70, 24, weights=[vectors])
    layer.build()
    model.set_input_embeddings(layer if as_layer else vectors)
    np.testing.assert_array_equal(values(model, WORD_KEY), vectors)
    assert model.config.vocab_size == 70
    assert keras.ops.shape(model(batch()).prediction_logits) == (BATCH, WORDS, 70)


@pytest.mark.parametrize("shape", [(70, 3), (24,), (70, 24, 2)])
def test_word_vectors_of_wrong_shape_raise_configuration_error(shape: tuple[int, ...]) -> None:
    model = TFLxmertModel(one_layer_config())
    with pytest.raises(ConfigurationError, match=re.escape(f"has shape {shape}, expected (words, 24)")):
        model.set_input_embeddings(np.zeros(shape, np.float32))
    assert model.config == one_layer_config()


@pytest.mark.parametrize("tied", [True, False])
def test_output_embeddings_are_layer_that_scores_words(tied: bool) -> None:
    model = TFLxmertForPreTraining(one_layer_config(tie_word_embeddings=tied))
    layer = model.get_output_embeddings()
    assert layer is (model.get_input_embeddings() if tied else model.cls.predictions.decoder)
    assert TFLxmertModel(one_layer_config()).get_output_embeddings() is None


def test_resized_model_is_saved_and_loaded(tmp_path: Path) -> None:
    model = TFLxmertForPreTraining(one_layer_config())
    model.resize_token_embeddings(70)
    model.resize_num_qa_labels(4)
    model.save_pretrained(tmp_path)
    again = TFLxmertForPreTraining.from_pretrained(tmp_path)
    assert (again.config.vocab_size, again.config.num_qa_labels) == (70, 4)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(batch()).prediction_logits),
        keras.ops.convert_to_numpy(model(batch()).prediction_logits),
    )
    _, info = LxmertForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())


def test_compiled_model_continues_training_after_resizing() -> None:
    model = TFLxmertForQuestionAnswering(one_layer_config())
    model.compile(optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)
    given = {name: array for name, array in batch().items() if name != "token_type_ids"}
    given["labels"] = np.array([1, 0, 2])
    model.fit(given, verbose=0)
    model.resize_num_qa_labels(12)
    model.resize_token_embeddings(66)
    before = values(model, "answer_head.logit_fc.3.weight")
    given["labels"] = np.array([11, 0, 10])
    history = model.fit(given, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert (values(model, "answer_head.logit_fc.3.weight") != before).all()
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_resizing_keeps_dtype_and_frozenness_of_word_embedding() -> None:
    model = TFLxmertForQuestionAnswering(one_layer_config(), dtype="bfloat16")
    model.get_input_embeddings().trainable = False
    model.resize_token_embeddings(64)
    variable = model.torch_variables()[WORD_KEY].variable
    assert variable.dtype == "bfloat16"
    assert not variable.trainable
    assert all(one is not variable for one in model.trainable_variables)


def test_resized_model_trains_like_reloaded_one(tmp_path: Path) -> None:
    resized_one = TFLxmertForQuestionAnswering(one_layer_config(attention_probs_dropout_prob=0.0))
    resized_one.resize_token_embeddings(70)
    resized_one.resize_num_qa_labels(4)
    resized_one.save_pretrained(tmp_path)
    given = batch() | {"labels": np.array([1, 0, 2])}
    learnt = []
    for model in (resized_one, TFLxmertForQuestionAnswering.from_pretrained(tmp_path)):
        model.compile(optimizer=keras.optimizers.SGD(0.1))
        learnt.append([float(model.train_on_batch(given)) for _ in range(4)])
    np.testing.assert_allclose(learnt[0], learnt[1], rtol=1e-5)
    assert learnt[0][-1] < learnt[0][0]
    if keras.backend.backend() == "torch":
        parameters = {id(parameter) for parameter in resized_one.parameters()}
        assert {id(variable.value) for variable in resized_one.trainable_variables} == parameters


def test_resizing_to_numpy_integers_can_be_saved(tmp_path: Path) -> None:
    model = TFLxmertForPreTraining(small_config(l_layers=1, x_layers=1, r_layers=1))
    model.resize_num_qa_labels(np.arange(12).max())
    model.resize_token_embeddings(np.int64(70))
    model.save_pretrained(tmp_path)
    config = TFLxmertForPreTraining.from_pretrained(tmp_path).config
    assert (config.num_qa_labels, config.vocab_size) == (11, 70)

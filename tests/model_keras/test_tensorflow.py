"""TensorFlow around a model: tf.function, XLA, tf.data, mixed precision, checkpoints."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lxmert.errors import TensorError
from lxmert.model_keras import (
    TFLxmertForPreTraining,
    TFLxmertForPreTrainingOutput,
    TFLxmertForQuestionAnswering,
    TFLxmertModel,
)
from tests.model.small import inputs, small_config, targets
from tests.model_keras.paired_models import as_numpy, assert_same_outputs

if keras.config.backend() != "tensorflow":
    pytest.skip("for the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

CONFIG = small_config(l_layers=1, x_layers=1, r_layers=1)


def arguments() -> Any:
    return as_numpy(inputs(CONFIG) | targets(CONFIG))


def test_compiled_function_returns_output_object_for_any_size() -> None:
    model = TFLxmertModel(CONFIG)
    given = as_numpy(inputs(CONFIG))
    signature = {
        name: tf.TensorSpec([None, None, *array.shape[2:]], array.dtype) for name, array in given.items()
    }
    run = tf.function(lambda batch: model(batch, output_hidden_states=True), input_signature=[signature])
    assert_same_outputs(model(given, output_hidden_states=True), run(given))
    fewer = {name: array[:2, :4] for name, array in given.items()}
    assert_same_outputs(model(fewer, output_hidden_states=True), run(fewer))
    assert run.experimental_get_tracing_count() == 1


def test_xla_gives_the_same_outputs_and_losses() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    run = tf.function(model, jit_compile=True)
    wanted, found = model(arguments()), run(arguments())
    assert isinstance(found, TFLxmertForPreTrainingOutput)
    assert_same_outputs(wanted, found)


def test_dataset_with_nested_targets_and_short_last_batch_trains_and_evaluates() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
    everything = tf.data.Dataset.from_tensor_slices(arguments()).repeat(2).batch(4, drop_remainder=False)
    history = model.fit(everything, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    loss = model.evaluate(everything, verbose=0, return_dict=True)["loss"]
    first, second = (float(model(batch).loss) for batch in everything)
    assert loss == pytest.approx((4 * first + 2 * second) / 6, rel=1e-5)
    assert model.predict(everything, verbose=0).cross_relationship_score.shape == (6, 2)


def test_mixed_precision_reaches_every_layer_and_leaves_losses_in_float32() -> None:
    model = TFLxmertForPreTraining(CONFIG, dtype="mixed_bfloat16")
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {"bfloat16"}
    assert {entry.variable.dtype for entry in model.torch_variables().values()} == {"float32"}
    given = arguments()
    given["attention_mask"][1] = 0  # a text without a visible word
    exact = TFLxmertForPreTraining(CONFIG)
    exact.set_weights(model.get_weights())
    found, wanted = model(given), exact(given)
    assert found.prediction_logits.dtype == tf.bfloat16
    assert {loss.dtype for loss in [found.loss, *found.losses.values()]} == {tf.float32}
    assert float(found.loss) == pytest.approx(float(wanted.loss), rel=0.02)
    model.compile(optimizer="sgd", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(given)).all()


def test_targets_keep_their_precision_under_mixed_precision() -> None:
    model = TFLxmertForPreTraining(CONFIG, dtype="mixed_bfloat16")
    given = as_numpy(inputs(CONFIG))
    weight = np.full((3, 5), 1.001, np.float32)  # 1.0 in bfloat16
    classes = np.zeros((3, 5), np.int64)
    ones = model(given, obj_labels={"obj": (classes, np.ones_like(weight))}).loss
    found = model(given, obj_labels={"obj": (classes, weight)}).loss
    assert float(found) / float(ones) == pytest.approx(1.001, rel=1e-5)


def test_ids_out_of_range_in_user_tf_function_raise_invalid_argument_error() -> None:
    model = TFLxmertModel(CONFIG)
    run = tf.function(lambda batch: model(batch).pooled_output)
    right = as_numpy(inputs(CONFIG))
    np.testing.assert_allclose(run(right), model(right).pooled_output, atol=1e-5)
    for name, value in (("input_ids", 61), ("input_ids", -1), ("token_type_ids", 2)):
        wrong = right | {name: right[name].copy()}
        wrong[name][1, 2] = value
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} has ids out of range, expected 0"):
            run(wrong)


def test_small_dtype_of_ids_may_be_exceeded_by_the_vocabulary() -> None:
    model = TFLxmertModel(small_config(l_layers=1, x_layers=1, r_layers=1, vocab_size=300))
    given = as_numpy(inputs(CONFIG))
    given["input_ids"] = np.full((3, 7), 250, np.uint8)  # 300 is 44 in this dtype
    run = tf.function(lambda batch: model(batch).pooled_output)
    np.testing.assert_allclose(run(given), model(given).pooled_output, atol=1e-5)


def test_id_out_of_range_in_pipeline_raises_tensor_error_before_xla_compiles() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer="sgd", jit_compile=True)
    wrong = arguments()
    wrong["input_ids"][1, 2] = 61
    data = tf.data.Dataset.from_tensors(wrong)
    with pytest.raises(
        TensorError, match=r"^input_ids has the id 61, expected 0\.\.60 \(vocab_size is 61\)$"
    ):
        model.fit(data, verbose=0)


def test_ragged_and_sparse_inputs_raise_tensor_error() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer="sgd", run_eagerly=True)
    given = as_numpy(inputs(CONFIG)) | {"matched_label": np.array([0, 1, 1])}
    uneven = given | {"input_ids": tf.ragged.constant([[1, 2, 3], [4, 5], [6]])}
    message = "^input_ids is a RaggedTensor, expected a dense tensor: pad it, and pass a mask$"
    with pytest.raises(TensorError, match=message):
        model(uneven)
    with pytest.raises(TensorError, match=message):
        model.fit(tf.data.Dataset.from_tensors(uneven), verbose=0)
    sparse = given | {"visual_feats": tf.sparse.from_dense(given["visual_feats"])}
    with pytest.raises(TensorError, match="visual_feats is a SparseTensor"):
        model(sparse)


def test_input_of_unknown_rank_raises_error() -> None:
    model = TFLxmertModel(CONFIG)
    run = tf.function(model, input_signature=[tf.TensorSpec(None, tf.int32)])
    with pytest.raises(Exception, match="unknown number of axes"):
        run.get_concrete_function()


@pytest.mark.parametrize("columns", [1, 9])
def test_answers_with_unknown_number_of_columns_raise_error(columns: int) -> None:
    batch = as_numpy(inputs(CONFIG)) | {"labels": np.ones((3, columns), np.int64)}
    signature = {name: tf.TensorSpec([None, *array.shape[1:]], array.dtype) for name, array in batch.items()}
    known = tf.data.Dataset.from_generator(lambda: iter([batch]), output_signature=signature)
    vague = signature | {"labels": tf.TensorSpec([None, None], tf.int64)}
    unknown = tf.data.Dataset.from_generator(lambda: iter([batch]), output_signature=vague)
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer="sgd", jit_compile=False)
    assert model.evaluate(known, verbose=0) == pytest.approx(float(model(batch).loss), rel=1e-5)
    # Keras' graph for batches of several shapes leaves open what differs.
    other = batch | {"labels": np.ones((3, 10 - columns), np.int64)}
    for data in (other, unknown):
        with pytest.raises(
            Exception, match=r"labels has an unknown number of columns, .* of all data in one form"
        ):
            model.evaluate(data, verbose=0)


def test_tensorflow_checkpoint_contains_every_variable(tmp_path: Path) -> None:
    kept, other = TFLxmertForPreTraining(CONFIG), TFLxmertForPreTraining(CONFIG)
    place = tf.train.Checkpoint(model=kept).save(str(tmp_path / "of_tensorflow"))
    tf.train.Checkpoint(model=other).restore(place).assert_consumed()
    for left, right in zip(kept.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=left.path)

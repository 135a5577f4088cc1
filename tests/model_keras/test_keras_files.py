"""Files of Keras: `.keras` archives, weights files, exported SavedModels."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import lxmert  # noqa: E402
from lxmert.model_keras import TFLxmertPreTrainedModel  # noqa: E402
from tests.model.small import small_config  # noqa: E402
from tests.model_keras.model_classes import CLASSES, arrays_of, batch, keras_class, scores  # noqa: E402


@pytest.mark.parametrize("kind", CLASSES)
def test_keras_file_round_trip_keeps_class_config_and_weights(kind: str, tmp_path: Path) -> None:
    model = keras_class(kind)(small_config(l_layers=1, x_layers=1, layer_norm_eps=1e-5), name="mine")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is type(model)
    assert again.name == "mine"
    assert again.config == model.config
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(arrays_of(again)[name], array, err_msg=name)
    np.testing.assert_array_equal(scores(again(batch(kind))), scores(model(batch(kind))))


def test_keras_file_keeps_precision_and_resizing(tmp_path: Path) -> None:
    model = lxmert.TFLxmertForPreTraining(small_config(l_layers=1, x_layers=1), dtype="mixed_bfloat16")
    model.resize_token_embeddings(64)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert again.lxmert.encoder.layer[0].dtype_policy.name == "mixed_bfloat16"
    assert again.config.vocab_size == 64
    np.testing.assert_array_equal(scores(again(batch(""))), scores(model(batch(""))))


@pytest.mark.parametrize("own_loss", [True, False])
def test_training_resumes_from_keras_file_with_same_results(own_loss: bool, tmp_path: Path) -> None:
    config = small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = lxmert.TFLxmertForQuestionAnswering(config)
    loss = None if own_loss else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, metrics=["accuracy"], jit_compile=False)
    given = {"x": batch(""), "y": np.array([4, 0, 8])}
    model.fit(**given, epochs=2, verbose=0)
    model.optimizer.learning_rate = 1e-3
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = keras.models.load_model(tmp_path / "model.keras")
    assert int(again.optimizer.iterations) == 2
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (other, one)), err_msg=one.path)
    further = [each.fit(**given, epochs=2, verbose=0).history for each in (model, again)]
    assert further[1]["loss"] == pytest.approx(further[0]["loss"], rel=1e-6)
    assert further[1]["accuracy"] == further[0]["accuracy"]
    for name, array in arrays_of(model).items():
        np.testing.assert_allclose(arrays_of(again)[name], array, atol=1e-7, err_msg=name)


def test_class_with_overridden_compile_loads_uncompiled_with_warning(tmp_path: Path) -> None:
    class Own(lxmert.TFLxmertForQuestionAnswering):
        def compile(self, optimizer: str, temperature: float, **kwargs: Any) -> None:
            super().compile(optimizer, **kwargs)

    model = Own(small_config(l_layers=1, x_layers=1))
    model.compile("sgd", 2.0)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"`compile\(\)` was not called"):
        keras.models.load_model(tmp_path / "model.keras")


def test_keras_file_keeps_frozen_parts_and_optimizer_state(tmp_path: Path) -> None:
    model = lxmert.TFLxmertForQuestionAnswering(small_config(l_layers=1, x_layers=1))
    model.lxmert.trainable = False
    model.lxmert.encoder.x_layers[0].trainable = True
    model.lxmert.encoder.x_layers[0].lang_inter.dense.trainable = False
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(batch(""), np.array([4, 0, 8]), verbose=0)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = keras.models.load_model(tmp_path / "model.keras")
    learning = [[variable.path for variable in each.trainable_variables] for each in (model, again)]
    assert learning[1] == learning[0]
    assert 0 < len(learning[0]) < len(model.variables)
    assert not again.lxmert.trainable
    assert int(again.optimizer.iterations) == 1
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (other, one)), err_msg=one.path)


def test_fully_frozen_model_stays_frozen_in_keras_file(tmp_path: Path) -> None:
    model = lxmert.TFLxmertForQuestionAnswering(small_config(l_layers=1, x_layers=1))
    model.trainable = False
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert not again.trainable_variables
    again.trainable = True
    assert len(again.trainable_variables) == len(model.torch_variables())


def test_weights_file_round_trip_keeps_weights(tmp_path: Path) -> None:
    config = small_config(l_layers=1, x_layers=1)
    one, other = lxmert.TFLxmertForQuestionAnswering(config), lxmert.TFLxmertForQuestionAnswering(config)
    one.save_weights(tmp_path / "x.weights.h5")
    other.load_weights(tmp_path / "x.weights.h5")
    for name, array in arrays_of(one).items():
        np.testing.assert_array_equal(arrays_of(other)[name], array)


@pytest.mark.parametrize("kind", ["ForPreTraining", "ForVisualReasoning"])
def test_saved_model_serves_any_size_and_rejects_ids_out_of_range(kind: str, tmp_path: Path) -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip(
            "Keras gives each free length a symbol of its own under JAX, and takes no dictionary under torch"
        )
    import tensorflow as tf

    model = keras_class(kind)(small_config(l_layers=1, x_layers=1))
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    given = {n: a.astype("int32" if a.dtype.kind == "i" else "float32") for n, a in batch(kind).items()}
    for size, words in ((3, 7), (1, 4)):
        part = {
            n: a[:size, :words] if n in ("input_ids", "attention_mask", "token_type_ids") else a[:size]
            for n, a in given.items()
        }
        result, expected = served.serve(part), model(part)
        assert set(result) == set(expected)
        for name, value in result.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5, rtol=1e-5)
    given["input_ids"][0, 1] = 61
    with pytest.raises(tf.errors.InvalidArgumentError, match="input_ids has ids out of range"):
        served.serve(given)


def test_saved_model_with_fixed_lengths_serves_same_scores(tmp_path: Path) -> None:
    if keras.backend.backend() == "torch":
        pytest.skip("under torch Keras exports no model that takes a dictionary")
    tf = pytest.importorskip("tensorflow")
    model = lxmert.TFLxmertForQuestionAnswering(small_config(l_layers=1, x_layers=1))
    given = {n: a.astype("int32" if a.dtype.kind == "i" else "float32") for n, a in batch("").items()}
    lengths = {n: keras.InputSpec(dtype=str(a.dtype), shape=(None, *a.shape[1:])) for n, a in given.items()}
    model.export(tmp_path / "served", verbose=False, input_signature=[lengths])
    served = tf.saved_model.load(str(tmp_path / "served"))
    for size in (3, 1):
        part = {name: array[:size] for name, array in given.items()}
        found = served.serve(part)["question_answering_score"]
        np.testing.assert_allclose(found, scores(model(part)), atol=1e-5, rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Classifier(keras.Model):
    """A model that holds one of ours; Keras builds it anew by running it on placeholders of float32."""

    def __init__(self, lxmert_model: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lxmert_model = lxmert_model or lxmert.TFLxmertModel(small_config(l_layers=1, x_layers=1))
        self.head = keras.layers.Dense(3)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.head(self.lxmert_model(inputs, training=training).pooled_output)


def test_keras_model_containing_lxmert_round_trips_through_keras_file(tmp_path: Path) -> None:
    model, given = Classifier(), {name: array for name, array in batch("").items() if name != "labels"}
    expected = keras.ops.convert_to_numpy(model(given))
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(given)), expected)


def test_derived_class_round_trips_through_keras_file(tmp_path: Path) -> None:
    class Mine(lxmert.TFLxmertModel):
        pass

    model = Mine(small_config(l_layers=1, x_layers=1))
    model.save(tmp_path / "model.keras")
    assert type(keras.models.load_model(tmp_path / "model.keras")) is Mine
    assert issubclass(Mine, TFLxmertPreTrainedModel)

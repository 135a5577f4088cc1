"""Classes that users derive from the Keras models, with own layers: files, training, resizing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

keras = pytest.importorskip("keras")

import lxmert  # noqa: E402
from lxmert.errors import TensorError, WeightsError  # noqa: E402
from lxmert.model_keras import TFLxmertPreTrainedModel  # noqa: E402
from tests.model.small import small_config  # noqa: E402
from tests.model_keras.model_classes import arrays_of, batch  # noqa: E402

CONFIG = small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
INPUTS = {name: array for name, array in batch("").items() if name != "labels"}
LABELS = np.array([2, 0, 1])


class Gate(keras.layers.Layer):
    """A layer of the user's, with a variable and a layer inside."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.inner = keras.layers.Dense(shape[-1])
        self.inner.build(shape)

    def call(self, states: Any) -> Any:
        return states + self.scale * self.inner(states)


class Named(TFLxmertPreTrainedModel):
    """A head as with the TF classes of `transformers`: inputs by name, a loss from labels."""

    label_names = ("labels",)
    label_of_score = {"logits": "labels"}  # noqa: RUF012

    def __init__(self, config: Any, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.lxmert = lxmert.TFLxmertModel(config, name="lxmert")
        self.steps = [Gate(), keras.layers.BatchNormalization()]
        self.stack = keras.Sequential([keras.layers.Dense(5, activation="relu"), keras.layers.Dropout(0.1)])
        self.classifier = keras.layers.Dense(3)
        self.temperature = self.add_weight(shape=(), initializer="ones", name="temperature")

    def call(
        self,
        input_ids: Any = None,
        visual_feats: Any = None,
        visual_pos: Any = None,
        attention_mask: Any = None,
        visual_attention_mask: Any = None,
        token_type_ids: Any = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        given = (input_ids, visual_feats, visual_pos, attention_mask, visual_attention_mask, token_type_ids)
        states = self.lxmert(*given, training=training).pooled_output
        for step in self.steps:
            states = step(states)
        scores = self.classifier(self.stack(states, training=training)) / self.temperature
        if labels is None:
            return {"logits": scores}
        losses = keras.losses.sparse_categorical_crossentropy(labels, scores, from_logits=True)
        return {"loss": keras.ops.mean(losses), "logits": scores}


class Plain(lxmert.TFLxmertModel):
    """A head as Keras users write one: inputs as they come, layers added to a finished model."""

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = keras.layers.Dense(3)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.classifier(super().call(**inputs, training=training).pooled_output)


class WithHead(lxmert.TFLxmertForQuestionAnswering):
    """A model that has a head, and gets a further one."""

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.kind = keras.layers.Dense(2)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def values(output: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(output["logits"] if isinstance(output, dict) else output))


@pytest.mark.parametrize("kind", [Named, Plain])
def test_user_defined_head_round_trips_through_model_folder(kind: type[Any], tmp_path: Path) -> None:
    model = kind(CONFIG)
    expected = values(model(INPUTS))
    model.save_pretrained(tmp_path)
    again, info = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    np.testing.assert_allclose(values(again(INPUTS)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", [Named, Plain])
def test_user_defined_head_round_trips_through_keras_file(kind: type[Any], tmp_path: Path) -> None:
    model = kind(CONFIG)
    expected = values(model(INPUTS))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Gate": Gate})
    np.testing.assert_allclose(values(again(INPUTS)), expected, atol=1e-6)


def test_unbuilt_head_round_trips_through_weights_file(tmp_path: Path) -> None:
    model = Plain(CONFIG)
    model.save_weights(tmp_path / "model.weights.h5")
    again = Plain(CONFIG)
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(values(again(INPUTS)), values(model(INPUTS)))


class Few(Plain):
    """A head whose `call` names some inputs only."""

    def call(self, input_ids: Any, visual_feats: Any, visual_pos: Any) -> Any:  # type: ignore[override]
        given = {"input_ids": input_ids, "visual_feats": visual_feats, "visual_pos": visual_pos}
        return super().call(given)


@pytest.mark.parametrize("kind", [Plain, Few])
def test_unbuilt_head_is_exported_with_same_outputs(kind: type[Any], tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    model = kind(CONFIG)
    model.export(tmp_path, verbose=False)
    served = tf.saved_model.load(tmp_path)
    numbers = {
        name: tf.cast(array, "float32" if "visual" in name else "int32") for name, array in INPUTS.items()
    }
    numbers["visual_attention_mask"] = tf.cast(INPUTS["visual_attention_mask"], "int32")
    given = {name: array for name, array in numbers.items() if kind is Plain or name in Few.argument_names()}
    np.testing.assert_allclose(served.serve(given), values(model(given)), atol=1e-5)


def test_variables_of_user_layers_are_named_by_attribute_path(tmp_path: Path) -> None:
    Named(CONFIG).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    added = {name: shape for name, shape in shapes.items() if not name.startswith("lxmert.")}
    assert added == {
        "temperature": (),
        "steps.0.scale": (24,),
        "steps.0.inner.weight": (24, 24),
        "steps.0.inner.bias": (24,),
        "steps.1.gamma": (24,),
        "steps.1.beta": (24,),
        "steps.1.moving_mean": (24,),
        "steps.1.moving_variance": (24,),
        "stack.layers.0.weight": (5, 24),
        "stack.layers.0.bias": (5,),
        "classifier.weight": (3, 5),
        "classifier.bias": (3,),
    }


def test_user_defined_head_loads_weights_of_base_model(tmp_path: Path) -> None:
    base = lxmert.TFLxmertModel(CONFIG)
    base.save_pretrained(tmp_path)
    model, info = Named.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not any(name.startswith("lxmert.") for name in info["missing_keys"])
    for name, array in arrays_of(base).items():
        np.testing.assert_array_equal(arrays_of(model)[f"lxmert.{name}"], array)


@pytest.mark.parametrize("beside", [True, False])
def test_loss_returned_by_overridden_call_is_trained(beside: bool) -> None:
    model = Named(CONFIG)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    given = {"x": INPUTS, "y": LABELS} if beside else {"x": INPUTS | {"labels": LABELS}}
    losses = model.fit(**given, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.predict(given["x"], verbose=0)["logits"].shape == (3, 3)


def test_overridden_call_with_one_inputs_argument_trains_with_compiled_loss() -> None:
    model = Plain(CONFIG)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"], run_eagerly=True)
    history = model.fit(INPUTS, LABELS, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert "accuracy" in history
    assert model.predict(INPUTS, verbose=0).shape == (3, 3)
    assert model.evaluate(INPUTS, LABELS, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}
    with pytest.raises(TensorError, match="nothing to learn"):
        model.train_on_batch(INPUTS)


def test_interrupted_first_step_keeps_variables_of_user_layers() -> None:
    class Interrupted(Plain):
        def train_step(self, *state_and_data: Any) -> Any:
            raise KeyboardInterrupt

    model = Interrupted(CONFIG)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(INPUTS, LABELS, verbose=0)
    kept = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    assert all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in kept)


class Built(Plain):
    """A head with a `build` as in Keras, which wants the shapes of inputs."""

    def build(self, input_shape: Any) -> None:
        self.classifier.build((None, self.config.hidden_size))
        self.bias = self.add_weight(shape=(3,), initializer="ones")
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(inputs, training=training) + self.bias


def test_overridden_build_runs_on_first_call_and_after_loading(tmp_path: Path) -> None:
    model = Built(CONFIG)
    assert not model.classifier.built
    expected = values(model(INPUTS))
    model.save_pretrained(tmp_path)
    model.save(tmp_path / "model.keras")
    again, info = Built.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    for read in (again, keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(values(read(INPUTS)), expected, atol=1e-6)


def test_head_added_to_question_answering_model_has_named_variables() -> None:
    model = WithHead(CONFIG)
    model.kind.build((None, 24))
    assert any(variable is model.kind.kernel for variable in model.trainable_variables)
    assert {"kind.weight", "kind.bias", "answer_head.logit_fc.3.weight"} < set(model.torch_variables())


def test_frozen_user_layer_stays_frozen_in_keras_file(tmp_path: Path) -> None:
    model = Plain(CONFIG)
    model.classifier.trainable = False
    model.save(tmp_path / "model.keras")
    assert not keras.models.load_model(tmp_path / "model.keras").classifier.trainable


def test_resize_token_embeddings_resizes_inner_model() -> None:
    model = Named(CONFIG)
    model.resize_token_embeddings(80)
    assert (model.config.vocab_size, model.lxmert.config.vocab_size, CONFIG.vocab_size) == (80, 80, 61)
    ids = INPUTS["input_ids"].copy()
    ids[0, 0] = 79
    model(INPUTS | {"input_ids": ids})


def test_saving_variable_without_name_raises_weights_error(tmp_path: Path) -> None:
    model = Plain(CONFIG)
    model.nested = [[keras.layers.Dense(2)]]
    model.nested[0][0].build((None, 4))
    with pytest.raises(WeightsError, match="where it has no name"):
        model.save_pretrained(tmp_path)


def test_layer_in_two_attributes_is_saved_once(tmp_path: Path) -> None:
    model = Plain(CONFIG)
    model.alias = model.classifier
    model.save_pretrained(tmp_path)
    names = set(model.torch_variables())
    assert {"classifier.weight", "classifier.bias"} < names
    assert not any(name.startswith("alias") for name in names)


def test_variable_name_omits_underscores_around_attribute() -> None:
    model = Plain(CONFIG)
    model._kind_ = keras.layers.Dense(2)
    model._kind_.build((None, 24))
    assert {"kind.weight", "kind.bias"} < set(model.torch_variables())


def test_saving_model_that_fails_on_dummy_inputs_raises_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"WithHead has layers .* dummy_inputs \(NotImplementedError"):
        WithHead(CONFIG).save_pretrained(tmp_path)


def test_from_config_builds_derived_class_with_copied_config() -> None:
    model = Plain.from_config(CONFIG)
    assert type(model) is Plain
    assert model.config == CONFIG
    assert model.config is not CONFIG


def test_user_config_class_round_trips_through_folder_and_keras_file(tmp_path: Path) -> None:
    class UserConfig(lxmert.LxmertConfig):
        pass

    class UserModel(lxmert.TFLxmertModel):
        config_class = UserConfig

    model = UserModel(UserConfig.from_dict(CONFIG.to_dict()))
    model.save_pretrained(tmp_path / "folder")
    model.save(tmp_path / "model.keras")
    assert type(UserModel.from_pretrained(tmp_path / "folder").config) is UserConfig
    assert type(keras.models.load_model(tmp_path / "model.keras").config) is UserConfig

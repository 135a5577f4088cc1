"""What the layers of the Keras half are put together with: parts, named, built and mapped in one place.

Every layer lists its `parts`, the attributes that hold its sublayers. They bear the names of the PyTorch
modules, so that weights find their place by the path of attributes. One name is taken by Keras (`output`): it
gets an underscore at its end, which does not count.

All sizes are known from the configuration, so that a model builds all its variables when it is made, each
under the path of its parts, and passes its precision down; Keras does neither for sublayers made in a
constructor.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import keras

from lxmert.configuration import LxmertConfig
from lxmert.errors import WeightsError
from lxmert.model_keras.pretrained import TorchVariable


def linear(config: LxmertConfig, inputs: int, outputs: int, use_bias: bool = True) -> keras.layers.Dense:
    """A linear layer (..., inputs) -> (..., outputs), initialised as `initializer_range` says."""
    normal = keras.initializers.RandomNormal(stddev=config.initializer_range)
    layer = keras.layers.Dense(outputs, use_bias=use_bias, kernel_initializer=normal)
    layer.input_width = inputs
    return layer


def layer_norm(config: LxmertConfig, width: int) -> keras.layers.LayerNormalization:
    """A normalisation of the last axis, `width` wide."""
    layer = keras.layers.LayerNormalization(epsilon=config.layer_norm_eps)
    layer.input_width = width
    return layer


def embedding(config: LxmertConfig, rows: int, initializer: Any = None) -> keras.layers.Embedding:
    """A table of `rows` vectors of the hidden size."""
    normal = initializer or keras.initializers.RandomNormal(stddev=config.initializer_range)
    layer = keras.layers.Embedding(rows, config.hidden_size, embeddings_initializer=normal)
    layer.input_width = None
    return layer


class Parts:
    """A layer or model made of named parts; stands before the class of Keras among the bases."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold a layer, or a list or dictionary of layers; one that is not set is passed over."""

    def build(self, *_: Any, **__: Any) -> None:
        """Create the variables of all parts; the shapes that Keras may hand over say nothing new."""
        for path, part in self.named_parts():
            if part.built:  # layers without variables, and models within models
                part.dtype_policy = self.dtype_policy  # type: ignore[attr-defined]
                continue
            part.name = path.replace(".", "_")
            part.dtype_policy = self.dtype_policy  # type: ignore[attr-defined]
            if isinstance(part, Parts):
                part.build()
            else:
                part.build((None, part.input_width))

    def named_parts(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """The sublayers with the names of the PyTorch modules, e.g. "layer.0" for the first of a list."""
        for attribute in self.parts:
            name, part = attribute.removesuffix("_"), getattr(self, attribute, None)
            if isinstance(part, dict):
                yield from ((f"{name}.{key}", inner) for key, inner in part.items())
            elif isinstance(part, list | tuple):
                yield from ((f"{name}.{index}", inner) for index, inner in enumerate(part))
            elif part is not None:
                yield name, part

    def trainable_parts(self) -> dict[str, bool]:
        """By path, outer parts first: whether a part learns, where that differs from what holds it."""
        found: dict[str, bool] = {}
        self._add_trainable_parts("", True, found)
        return found

    def _add_trainable_parts(self, prefix: str, holder_learns: bool, found: dict[str, bool]) -> None:
        for path, part in self.named_parts():
            if part.trainable != holder_learns:
                found[prefix + path] = part.trainable
            if isinstance(part, Parts):
                part._add_trainable_parts(f"{prefix}{path}.", found.get(prefix + path, holder_learns), found)

    def set_trainable_parts(self, wanted: Mapping[str, bool], prefix: str = "") -> None:
        """Have the parts of these paths learn or not; see `trainable_parts`."""
        for path, part in self.named_parts():
            if prefix + path in wanted:
                part.trainable = wanted[prefix + path]
            if isinstance(part, Parts):
                part.set_trainable_parts(wanted, f"{prefix}{path}.")

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> Mapping[str, Any]:
        """What TensorFlow finds below: to `tf.train.Checkpoint` Keras does not show layers in lists."""
        children: Mapping[str, Any] = super()._trackable_children(save_type, **kwargs)  # type: ignore[misc]
        return {**children, **dict(self.named_parts())} if save_type == "checkpoint" else children

    def own_variables(self) -> dict[str, TorchVariable]:
        """Variables of this layer that belong to none of its parts, by the name of the PyTorch parameter."""
        return {}

    def torch_variables(self) -> dict[str, TorchVariable]:
        """State-dict name of the PyTorch class -> variable; a tied decoder is left out."""
        found = self.own_variables()
        for path, part in self.named_parts():
            inner = part.torch_variables() if isinstance(part, Parts) else _variables_of(part)
            found.update({f"{path}.{name}": variable for name, variable in inner.items()})
        return found


def _variables_of(layer: keras.layers.Layer) -> dict[str, TorchVariable]:
    """The variables of one of Keras' own layers, by the name of the PyTorch parameter.

    Raises:
        WeightsError: the layer is quantized.
    """
    if getattr(layer, "quantization_mode", None) is not None:
        # Its whole numbers would be taken for weights.
        raise WeightsError(
            "a quantized model can predict and be exported, but not be saved, resized or loaded into: do "
            "that before quantize()"
        )
    if isinstance(layer, keras.layers.Dense):
        found = {"weight": TorchVariable(layer.kernel, transposed=True)}
        return found | ({"bias": TorchVariable(layer.bias, transposed=False)} if layer.use_bias else {})
    if isinstance(layer, keras.layers.Embedding):
        return {"weight": TorchVariable(layer.embeddings, transposed=False)}
    if isinstance(layer, keras.layers.LayerNormalization):
        return {"weight": TorchVariable(layer.gamma, False), "bias": TorchVariable(layer.beta, False)}
    return {}  # dropout, activations


class TFLxmertLayerBase(Parts, keras.layers.Layer):
    """Base of all layers of the Keras half."""

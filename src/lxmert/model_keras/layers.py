"""What the layers of the Keras half are put together with: parts, named, built and mapped in one place.

Every layer lists its `parts`, the attributes that hold its sublayers. They bear the names of the PyTorch
modules, so that weights find their place by the path of attributes. One name is taken by Keras (`output`): it
gets an underscore at its end, which does not count.

All sizes are known from the configuration, so that a model builds all its variables when it is made, each
under the path of its parts, and passes its precision down; Keras does neither for sublayers made in a
constructor.

Layers of other classes, which a class derived from a model may add, have the names of their attributes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import keras
from keras.src.models.functional import Functional

from lxmert.configuration import LxmertConfig
from lxmert.errors import WeightsError

_LISTS_OF_BACKENDS = ("_layers", "_trainable_variables", "_non_trainable_variables", "_modules", "_self_")
"""How attributes begin under which Keras and the backends list what a layer holds under others."""


class TorchVariable(NamedTuple):
    """The Keras variable behind a name of the PyTorch state dict.

    Attributes:
        variable: the variable.
        transposed: True where the variable is the transpose of the PyTorch tensor (kernels of Dense layers).
    """

    variable: keras.Variable
    transposed: bool


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
        for path, part in Parts.named_parts(self):
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
            yield from _each(attribute.removesuffix("_"), getattr(self, attribute, None), keras.layers.Layer)

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
        return _with_variables_of(self.own_variables(), self.named_parts())


class OpenParts(Parts):
    """Parts to which derived classes add layers and variables of any kind, under any attribute."""

    def named_parts(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """See `Parts.named_parts`; with the layers that are no declared parts."""
        declared = list(super().named_parts())
        known = {id(part) for _, part in declared}
        yield from declared
        yield from ((name, part) for name, part in _held(self, keras.layers.Layer) if id(part) not in known)

    def own_variables(self) -> dict[str, TorchVariable]:
        """Variables that a derived class holds itself."""
        return {name: TorchVariable(variable, False) for name, variable in _held(self, keras.Variable)}

    def torch_variables(self) -> dict[str, TorchVariable]:
        """See `Parts.torch_variables`.

        Raises:
            WeightsError: a layer is quantized, or a variable is held where it has no name.
        """
        found = super().torch_variables()
        _refuse_unnamed(self, [part for _, part in self.named_parts()], found)
        return found


def _each(name: str, held: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """What of a kind is held under an attribute, or in a list or dictionary there, with its name."""
    if isinstance(held, kind):
        yield name, held
    elif isinstance(held, dict | list | tuple):
        items = held.items() if isinstance(held, dict) else enumerate(held)
        yield from ((f"{name}.{key}", inner) for key, inner in items if isinstance(inner, kind))


def _held(layer: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """What of a kind a layer of any class holds, by the names of its attributes."""
    if isinstance(layer, keras.Sequential | Functional):
        yield from _each("layers", layer.layers, kind)
        return
    attributes = vars(layer)
    for name, held in (attributes | attributes.get("_modules", {})).items():  # the latter under PyTorch
        if not name.startswith(_LISTS_OF_BACKENDS):
            yield from _each(name.strip("_"), held, kind)


def _with_variables_of(
    found: dict[str, TorchVariable], named_parts: Iterator[tuple[str, keras.layers.Layer]]
) -> dict[str, TorchVariable]:
    """Add the variables of parts; one that two of them share keeps its first name."""
    known = {id(entry.variable) for entry in found.values()}
    for path, part in named_parts:
        inner = part.torch_variables() if isinstance(part, Parts) else _variables_of(part)
        new = {f"{path}.{name}": entry for name, entry in inner.items() if id(entry.variable) not in known}
        known |= {id(entry.variable) for entry in new.values()}
        found |= new
    return found


def _variables_of(layer: keras.layers.Layer) -> dict[str, TorchVariable]:
    """The variables of a layer of Keras or of the user.

    By the name of the PyTorch parameter, where a class of PyTorch has the same; else by their attributes.

    Raises:
        WeightsError: the layer is quantized, or holds a variable where it has no name.
    """
    refuse_quantized(layer)  # Its whole numbers would be taken for weights.
    if not layer.built:
        return {}
    if type(layer) is keras.layers.Dense:
        found = {"weight": TorchVariable(layer.kernel, transposed=True)}
        return found | ({"bias": TorchVariable(layer.bias, transposed=False)} if layer.use_bias else {})
    if type(layer) is keras.layers.Embedding:
        return {"weight": TorchVariable(layer.embeddings, transposed=False)}
    if type(layer) is keras.layers.LayerNormalization:
        named = {"weight": layer.gamma, "bias": layer.beta}
        return {
            name: TorchVariable(variable, False) for name, variable in named.items() if variable is not None
        }
    parts = list(_held(layer, keras.layers.Layer))
    own = {name: TorchVariable(variable, False) for name, variable in _held(layer, keras.Variable)}
    found = _with_variables_of(own, iter(parts))
    _refuse_unnamed(layer, [part for _, part in parts], found)
    return found


def refuse_quantized(layer: keras.layers.Layer) -> None:
    """Raise a WeightsError for a layer that is quantized."""
    if getattr(layer, "quantization_mode", None) is not None:
        raise WeightsError(
            "a quantized model can predict and be exported, but not be saved, resized or loaded into: do "
            "that before quantize()"
        )


def _refuse_unnamed(layer: Any, parts: list[keras.layers.Layer], found: Mapping[str, TorchVariable]) -> None:
    """Raise a WeightsError for variables that are held deeper than in a list or a dictionary."""
    known = {id(entry.variable) for entry in found.values()}
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    inner = [
        variable
        for part in layer._layers
        if not any(part is one for one in parts)
        for variable in part.weights
    ]
    for variable in own + inner:
        if id(variable) not in known:
            raise WeightsError(
                f"{type(layer).__name__} keeps {variable.path} where it has no name in a model folder: "
                "store it, or its layer, as an attribute, or in a list or dictionary that is an attribute"
            )


class TFLxmertLayerBase(Parts, keras.layers.Layer):
    """Base of all layers of the Keras half."""

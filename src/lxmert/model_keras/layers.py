"""Building blocks of the Keras layers: naming, building and mapping of sublayers.

Every layer lists its `sublayer_names`, the attributes that hold its sublayers. They have the names of the
PyTorch modules, so that weights are assigned by the path of attributes. One name is reserved by Keras
(`output`): it has a trailing underscore here, which is ignored.

All sizes are known from the configuration, so that a model creates all variables on construction, each under
the path of its parts, and passes its precision on; Keras does neither for sublayers made in a constructor.

Layers of other classes, which a class derived from a model may add, are named by their attributes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import keras
from keras.src.models.functional import Functional

from lxmert.configuration import LxmertConfig
from lxmert.errors import WeightsError

_LISTS_OF_BACKENDS = ("_layers", "_trainable_variables", "_non_trainable_variables", "_modules", "_self_")
"""Prefixes of attributes in which Keras and the backends list what other attributes already hold."""


class TorchVariable(NamedTuple):
    """The Keras variable behind a name of the PyTorch state dict.

    Attributes:
        variable: the variable.
        transposed: True if the variable is the transpose of the PyTorch tensor (kernels of Dense layers).
    """

    variable: keras.Variable
    transposed: bool


def linear(config: LxmertConfig, inputs: int, outputs: int, use_bias: bool = True) -> keras.layers.Dense:
    """Make a linear layer (..., inputs) -> (..., outputs), initialised with `initializer_range`."""
    normal = keras.initializers.RandomNormal(stddev=config.initializer_range)
    layer = keras.layers.Dense(outputs, use_bias=use_bias, kernel_initializer=normal)
    layer.input_width = inputs
    return layer


def layer_norm(config: LxmertConfig, width: int) -> keras.layers.LayerNormalization:
    """Make a layer normalisation over a last axis of size `width`."""
    layer = keras.layers.LayerNormalization(epsilon=config.layer_norm_eps)
    layer.input_width = width
    return layer


def embedding(config: LxmertConfig, rows: int, initializer: Any = None) -> keras.layers.Embedding:
    """Make an embedding of `rows` vectors of the hidden size."""
    normal = initializer or keras.initializers.RandomNormal(stddev=config.initializer_range)
    layer = keras.layers.Embedding(rows, config.hidden_size, embeddings_initializer=normal)
    layer.input_width = None
    return layer


class SublayerMixin:
    """A layer or model with named parts; must precede the Keras class among the bases."""

    sublayer_names: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold a layer, or a list or dictionary of layers; those not set are skipped."""

    def build(self, *_: Any, **__: Any) -> None:
        """Create the variables of all parts; shapes that Keras may pass are not needed."""
        for path, part in SublayerMixin.named_sublayers(self):
            if part.built:  # layers without variables, and models within models
                part.dtype_policy = self.dtype_policy  # type: ignore[attr-defined]
                continue
            part.name = path.replace(".", "_")
            part.dtype_policy = self.dtype_policy  # type: ignore[attr-defined]
            if isinstance(part, SublayerMixin):
                part.build()
            else:
                part.build((None, part.input_width))

    def named_sublayers(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """Yield sublayers with the names of the PyTorch modules, e.g. "layer.0" for the first of a list."""
        for attribute in self.sublayer_names:
            yield from _iter_named(
                attribute.removesuffix("_"), getattr(self, attribute, None), keras.layers.Layer
            )

    def trainable_flags(self) -> dict[str, bool]:
        """Return whether parts are trainable, by path, outer parts first; only those unlike their parents."""
        found: dict[str, bool] = {}
        self._collect_trainable_flags("", True, found)
        return found

    def _collect_trainable_flags(
        self, prefix: str, parent_is_trainable: bool, found: dict[str, bool]
    ) -> None:
        for path, part in self.named_sublayers():
            if part.trainable != parent_is_trainable:
                found[prefix + path] = part.trainable
            if isinstance(part, SublayerMixin):
                part._collect_trainable_flags(
                    f"{prefix}{path}.", found.get(prefix + path, parent_is_trainable), found
                )

    def set_trainable_flags(self, flags: Mapping[str, bool], prefix: str = "") -> None:
        """Set whether the parts at the given paths are trainable; see `trainable_flags`."""
        for path, part in self.named_sublayers():
            if prefix + path in flags:
                part.trainable = flags[prefix + path]
            if isinstance(part, SublayerMixin):
                part.set_trainable_flags(flags, f"{prefix}{path}.")

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> Mapping[str, Any]:
        """See Keras; adds layers in lists, which Keras does not expose to `tf.train.Checkpoint`."""
        children: Mapping[str, Any] = super()._trackable_children(save_type, **kwargs)  # type: ignore[misc]
        return {**children, **dict(self.named_sublayers())} if save_type == "checkpoint" else children

    def direct_variables(self) -> dict[str, TorchVariable]:
        """Return variables of the layer itself, not of its parts, by the name of the PyTorch parameter."""
        return {}

    def torch_variables(self) -> dict[str, TorchVariable]:
        """Return variables by state-dict name of the PyTorch class, without a tied decoder."""
        return _merge_variables(self.direct_variables(), self.named_sublayers())


class OpenSublayerMixin(SublayerMixin):
    """Parts of a class to which derived classes may add any layers and variables, under any attributes."""

    def named_sublayers(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """See `SublayerMixin.named_sublayers`; includes layers that are not declared as parts."""
        declared = list(super().named_sublayers())
        known = {id(part) for _, part in declared}
        yield from declared
        yield from (
            (name, part) for name, part in _iter_attributes(self, keras.layers.Layer) if id(part) not in known
        )

    def direct_variables(self) -> dict[str, TorchVariable]:
        """Return the variables that a derived class holds itself."""
        return {
            name: TorchVariable(variable, False) for name, variable in _iter_attributes(self, keras.Variable)
        }

    def torch_variables(self) -> dict[str, TorchVariable]:
        """See `SublayerMixin.torch_variables`.

        Raises:
            WeightsError: a layer is quantized, or a variable is nested too deeply to have a name.
        """
        found = super().torch_variables()
        _reject_unnamed(self, [part for _, part in self.named_sublayers()], found)
        return found


def _iter_named(name: str, held: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the objects of a kind in an attribute, or in a list or dictionary there, with their names."""
    if isinstance(held, kind):
        yield name, held
    elif isinstance(held, dict | list | tuple):
        items = held.items() if isinstance(held, dict) else enumerate(held)
        yield from ((f"{name}.{key}", inner) for key, inner in items if isinstance(inner, kind))


def _iter_attributes(layer: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the objects of a kind that a layer of any class holds, named by its attributes."""
    if isinstance(layer, keras.Sequential | Functional):
        yield from _iter_named("layers", layer.layers, kind)
        return
    attributes = vars(layer)
    for name, held in (attributes | attributes.get("_modules", {})).items():  # the latter on PyTorch
        if not name.startswith(_LISTS_OF_BACKENDS):
            yield from _iter_named(name.strip("_"), held, kind)


def _merge_variables(
    found: dict[str, TorchVariable], named_sublayers: Iterator[tuple[str, keras.layers.Layer]]
) -> dict[str, TorchVariable]:
    """Add the variables of parts; a variable shared by several keeps its first name."""
    known = {id(entry.variable) for entry in found.values()}
    for path, part in named_sublayers:
        inner = part.torch_variables() if isinstance(part, SublayerMixin) else _layer_variables(part)
        new = {f"{path}.{name}": entry for name, entry in inner.items() if id(entry.variable) not in known}
        known |= {id(entry.variable) for entry in new.values()}
        found |= new
    return found


def _layer_variables(layer: keras.layers.Layer) -> dict[str, TorchVariable]:
    """Return the variables of a layer of Keras or of the user.

    They are named like the PyTorch parameters if PyTorch has an equal layer, otherwise by their attributes.

    Raises:
        WeightsError: the layer is quantized, or a variable is nested too deeply to have a name.
    """
    reject_quantized(layer)  # Its integers would be taken for weights.
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
    parts = list(_iter_attributes(layer, keras.layers.Layer))
    own = {name: TorchVariable(variable, False) for name, variable in _iter_attributes(layer, keras.Variable)}
    found = _merge_variables(own, iter(parts))
    _reject_unnamed(layer, [part for _, part in parts], found)
    return found


def reject_quantized(layer: keras.layers.Layer) -> None:
    """Raise a `WeightsError` if a layer is quantized."""
    if getattr(layer, "quantization_mode", None) is not None:
        raise WeightsError(
            "a quantized model can predict and be exported, but not be saved, resized or loaded into: do "
            "that before quantize()"
        )


def _reject_unnamed(layer: Any, parts: list[keras.layers.Layer], found: Mapping[str, TorchVariable]) -> None:
    """Raise a `WeightsError` for variables nested more deeply than in one list or dictionary."""
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


class TFLxmertLayerBase(SublayerMixin, keras.layers.Layer):
    """Base of all Keras layers of the package."""

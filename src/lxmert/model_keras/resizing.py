"""Changing the size of a variable of a built Keras model.

Keras fixes the shape of a variable, so that resizing replaces it by another one wherever a layer holds it.
"""

from collections.abc import Iterable

import keras
import numpy as np


def resized(values: np.ndarray, size: int, axis: int, new_values: np.ndarray) -> np.ndarray:
    """Return the first `size` entries of `values` along `axis`, extended by entries of `new_values`.

    Args:
        values: the old values.
        size: the new length of the axis.
        axis: the axis that changes.
        new_values: of the new shape; its entries beyond the old length are used.
    """
    kept = np.take(values, range(min(size, values.shape[axis])), axis)
    added = np.take(new_values, range(values.shape[axis], size), axis)
    return np.concatenate([kept, added.astype(values.dtype)], axis)


def replace_variable(model: keras.Model, old: keras.Variable, values: np.ndarray) -> keras.Variable:
    """Replace a variable of a model by one with other values, of any shape.

    Name, dtype and `trainable` do not change. Functions that Keras compiled for the model are discarded, and
    the optimizer of `compile` is reset, since its state has the old shape.

    Args:
        model: the model, changed in place.
        old: the variable.
        values: the values of the new one.
    """
    holders = list(_holders(model, old))
    new = keras.Variable(values, trainable=old.trainable, dtype=old.dtype, name=old.name)
    new._path = old.path  # Some backends identify variables by it.
    for layer, attribute in holders:
        layer._untrack_variable(old)
        # Keras locks built layers; its own layers unlock themselves in this way to quantize.
        layer._tracker.unlock()
        setattr(layer, attribute, new)
        layer._tracker.lock()
        if isinstance(layer, keras.layers.Dense):
            layer.units = int(layer.kernel.shape[-1])
        elif isinstance(layer, keras.layers.Embedding):
            layer.input_dim = int(layer.embeddings.shape[0])
    if keras.backend.backend() == "torch":
        # There each layer is a module too, with a list of the parameters of all its sublayers.
        for part in (model, *model._flatten_layers()):
            part._track_variables()
    _reset_compiled(model)
    return new


def _holders(model: keras.Model, variable: keras.Variable) -> Iterable[tuple[keras.layers.Layer, str]]:
    for layer in model._flatten_layers():
        for attribute, value in vars(layer).items():
            if value is variable:
                yield layer, attribute


def _reset_compiled(model: keras.Model) -> None:
    model.train_function = model.test_function = model.predict_function = None
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        model.optimizer = type(optimizer).from_config(optimizer.get_config())

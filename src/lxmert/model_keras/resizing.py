"""Changing the size of a variable of a built Keras model.

Keras fixes the shape of a variable, so that resizing is putting another variable in its place, wherever a
layer holds it.
"""

from collections.abc import Iterable

import keras
import numpy as np


def resized(values: np.ndarray, size: int, axis: int, new_values: np.ndarray) -> np.ndarray:
    """The first `size` entries of `values` along `axis`, followed by entries of `new_values` where need be.

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
    """Put a variable with other values, of any shape, in the place of a variable of a model.

    Name, dtype and whether it is trained stay. Functions that Keras compiled for the model are forgotten, and
    an optimizer from `compile` begins anew, since it keeps numbers of the old shape.

    Args:
        model: the model, changed in place.
        old: the variable.
        values: the values of the new one.
    """
    holders = list(_holders(model, old))
    new = keras.Variable(values, trainable=old.trainable, dtype=old.dtype, name=old.name)
    new._path = old.path  # Some backends tell variables apart by it.
    for layer, attribute in holders:
        layer._untrack_variable(old)
        # Keras locks a layer that is built; its own layers open the lock in this way where they quantize.
        layer._tracker.unlock()
        setattr(layer, attribute, new)
        layer._tracker.lock()
        if isinstance(layer, keras.layers.Dense):
            layer.units = int(layer.kernel.shape[-1])
        elif isinstance(layer, keras.layers.Embedding):
            layer.input_dim = int(layer.embeddings.shape[0])
    if keras.backend.backend() == "torch":
        # Each layer of that backend is a module too, and has a list of the parameters of all layers in it.
        for part in (model, *model._flatten_layers()):
            part._track_variables()
    _forget_compiled(model)
    return new


def _holders(model: keras.Model, variable: keras.Variable) -> Iterable[tuple[keras.layers.Layer, str]]:
    for layer in model._flatten_layers():
        for attribute, value in vars(layer).items():
            if value is variable:
                yield layer, attribute


def _forget_compiled(model: keras.Model) -> None:
    model.train_function = model.test_function = model.predict_function = None
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        model.optimizer = type(optimizer).from_config(optimizer.get_config())

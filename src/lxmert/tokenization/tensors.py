"""TensorFlow tensors, which transformers 5 no longer makes: converted from NumPy arrays.

Shapes: B texts, W word pieces of a text.
"""

import sys
from collections import UserDict
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from lxmert.errors import InputError, MissingExtraError

EncodingT = TypeVar("EncodingT", bound=UserDict[str, Any])

TENSORFLOW = "tf"
"""The value of `return_tensors` that asks for TensorFlow."""


def to_tensorflow(encoding: EncodingT) -> EncodingT:
    """Convert every array of an encoding to a tensor of int32 or float32, as transformers 4 did.

    Args:
        encoding: arrays, such as `input_ids` (B, W); changed in place.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        InputError: the texts differ in length, which no tensor can hold.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError(
            'return_tensors="tf" needs TensorFlow, which is not installed: '
            'pip install "lxmert[tf-cpu]" (on a CPU) or "lxmert[tf]" (on a GPU)'
        ) from error
    arrays: dict[str, Any] = {name: np.asarray(values) for name, values in encoding.items()}
    for name, array in arrays.items():
        if array.dtype == object:
            raise InputError(f"{name} of different lengths cannot form a tensor: pass padding=True")
        dtype = tf.float32 if array.dtype.kind == "f" else tf.int32
        encoding[name] = tf.constant(array, dtype)
    return encoding


def to_numpy(value: Any) -> Any:
    """Convert TensorFlow tensors to NumPy arrays, also in lists and dictionaries; leave all else as it is."""
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return value
    if isinstance(value, Mapping | UserDict):
        return {name: to_numpy(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple) and value and not isinstance(value[0], int):
        return [to_numpy(inner) for inner in value]
    return value.numpy() if tf.is_tensor(value) else value

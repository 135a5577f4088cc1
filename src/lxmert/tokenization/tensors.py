"""TensorFlow's tensors, which transformers 5 no longer makes: NumPy's arrays, carried over.

Shapes: B texts, W word pieces of a text.
"""

from typing import Any

import numpy as np
from transformers.tokenization_utils_base import BatchEncoding

from lxmert.errors import InputError, MissingExtraError

TENSORFLOW = "tf"
"""The value of `return_tensors` that asks for TensorFlow."""


def in_tensorflow(encoding: BatchEncoding) -> BatchEncoding:
    """An encoding with every array as a tensor of int32, as transformers 4 made them.

    Args:
        encoding: arrays of integers, such as `input_ids` (B, W); changed in place.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        InputError: texts of different lengths, which no tensor holds.
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
            raise InputError(f"{name} of different lengths make no tensor: give padding=True")
    encoding.update({name: tf.constant(array, tf.int32) for name, array in arrays.items()})
    return encoding

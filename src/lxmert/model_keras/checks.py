"""Checks of the inputs of a Keras model; each fault is one clear TensorError.

Shapes and dtypes are always checked, of symbolic tensors too as far as they are known. Values are checked
only where reading them has no side effect: not while a graph is traced, and not on an accelerator (a check
would force a synchronisation). Those of NumPy arrays are always checked. The counterpart of
`model/checks.py`; the messages are in `lxmert.faults`, shared by both.

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from lxmert.configuration import IMAGES_PER_SENTENCE, LxmertConfig
from lxmert.errors import TensorError
from lxmert.faults import (
    DUPLICATE_OBJECT_INPUTS,
    EMPTY_BATCH,
    NO_OBJECTS,
    complex_numbers_message,
    id_fault,
    image_pair_shape_message,
    mask_value_message,
    missing_objects_message,
    not_finite_message,
    shape_fault,
    text_input_fault,
    text_length_fault,
)

Shape = tuple[int | None, ...]

_NUM_PAIR_AXES = {"visual_feats": 4, "visual_pos": 4, "visual_attention_mask": 3, "object_states": 4}
"""Number of axes of the inputs that describe the objects of two images."""

_NOT_DENSE = ("RaggedTensor", "SparseTensor")
"""TensorFlow's tensor types that are not one dense block of numbers."""


class _TensorInfo(NamedTuple):
    """The known properties of a tensor, which are checked instead of the tensor."""

    shape: Shape
    dtype: Any
    values: np.ndarray | None


def concrete_values(tensor: Any) -> np.ndarray | None:
    """Return the values as a NumPy array if that needs neither a graph nor synchronisation, else None."""
    if isinstance(tensor, np.ndarray | _TensorInfo):
        return tensor if isinstance(tensor, np.ndarray) else tensor.values
    backend = keras.config.backend()
    if not keras.ops.is_tensor(tensor):
        return None
    if backend == "tensorflow":
        can_be_read = hasattr(tensor, "numpy") and "CPU" in (tensor.device or "CPU")
    elif backend == "jax":
        from jax.core import Tracer

        can_be_read = not isinstance(tensor, Tracer) and all(d.platform == "cpu" for d in tensor.devices())
    else:
        from torch.compiler import is_compiling

        can_be_read = tensor.device.type == "cpu" and not is_compiling()
    return np.asarray(keras.ops.convert_to_numpy(tensor)) if can_be_read else None


def check_inputs(config: LxmertConfig, arguments: Mapping[str, Any]) -> None:
    """Check the inputs of TFLxmertModel.

    Args:
        config: configuration of the model.
        arguments: by name, those that are not None.

    Raises:
        TensorError: on the first fault.
    """
    batch = _check_words(config, arguments)
    check_objects(config, batch, arguments)


def batch_size_of(arguments: Mapping[str, Any]) -> int | None:
    """Return B from the inputs that describe the objects; None if it is not known yet."""
    objects = arguments["object_states" if "object_states" in arguments else "visual_feats"]
    batch: int | None = shape_of("visual_feats", objects)[0]
    return batch


def check_pair_inputs(config: LxmertConfig, arguments: Mapping[str, Any]) -> None:
    """Check the inputs of TFLxmertForVisualReasoning: as `check_inputs`, objects (B, 2, O, ...).

    Raises:
        TensorError: on the first fault.
    """
    of_one_image = dict(arguments)
    for name, axes in _NUM_PAIR_AXES.items():
        if name not in arguments:
            continue
        objects = arguments[name]
        shape = shape_of(name, objects)
        if len(shape) != axes or shape[1] not in (IMAGES_PER_SENTENCE, None):
            raise TensorError(image_pair_shape_message(name, shape, axes))
        of_one_image[name] = _TensorInfo((shape[0], *shape[2:]), objects.dtype, concrete_values(objects))
    check_inputs(config, of_one_image)


def _check_words(config: LxmertConfig, arguments: Mapping[str, Any]) -> int | None:
    ids, vectors = arguments.get("input_ids"), arguments.get("inputs_embeds")
    _raise_fault(text_input_fault(ids is not None, vectors is not None))
    if ids is not None:
        batch, length = check_shape("input_ids", ids, (None, None), "batch, words")
        check_ids("input_ids", ids, config.vocab_size, "vocab_size")
    else:
        expected = (None, None, config.hidden_size)
        batch, length, _ = check_shape("inputs_embeds", vectors, expected, "batch, words, hidden_size")
        _check_numbers("inputs_embeds", vectors, "what makes the word vectors")
    if batch == 0:
        raise TensorError(EMPTY_BATCH)
    if length is not None:
        _raise_fault(text_length_fault(length, config.max_position_embeddings))
    if "attention_mask" in arguments:
        _check_mask("attention_mask", arguments["attention_mask"], (batch, length), "batch, words")
    if "token_type_ids" in arguments:
        check_shape("token_type_ids", arguments["token_type_ids"], (batch, length), "batch, words")
        check_ids("token_type_ids", arguments["token_type_ids"], config.type_vocab_size, "type_vocab_size")
    return batch


def check_objects(config: LxmertConfig, batch: int | None, arguments: Mapping[str, Any]) -> None:
    """Check the inputs that describe the objects.

    Args:
        config: configuration of the model.
        batch: expected B; None to accept that of the objects.
        arguments: by name, those that are not None.

    Raises:
        TensorError: on the first fault.
    """
    if "object_states" in arguments:
        _check_states(config, batch, arguments)
        return
    for name in ("visual_feats", "visual_pos"):
        if name not in arguments:
            raise TensorError(missing_objects_message(name))
    features, positions = arguments["visual_feats"], arguments["visual_pos"]
    expected: Shape = (batch, None, config.visual_feat_dim)
    given, count, _ = check_shape("visual_feats", features, expected, "batch, objects, visual_feat_dim")
    batch = given if batch is None else batch
    if count == 0:
        raise TensorError(NO_OBJECTS)
    expected = (batch, count, config.visual_pos_dim)
    check_shape("visual_pos", positions, expected, "batch, objects, visual_pos_dim")
    if "visual_attention_mask" in arguments:
        _check_mask(
            "visual_attention_mask", arguments["visual_attention_mask"], (batch, count), "batch, objects"
        )
    for name, values in (("visual_feats", features), ("visual_pos", positions)):
        _check_numbers(name, values, "the feature extractor")


def _check_states(config: LxmertConfig, batch: int | None, arguments: Mapping[str, Any]) -> None:
    states, mask = arguments["object_states"], arguments.get("visual_attention_mask")
    if "visual_feats" in arguments or "visual_pos" in arguments:
        raise TensorError(DUPLICATE_OBJECT_INPUTS)
    expected: Shape = (batch, None, config.hidden_size)
    batch, count, _ = check_shape("object_states", states, expected, "batch, objects, hidden_size")
    if mask is not None:
        _check_mask("visual_attention_mask", mask, (batch, count), "batch, objects")


def check_shape(name: str, tensor: Any, expected: Shape, meaning: str) -> Shape:
    """Return the shape of `tensor`; raise unless it is as `expected`, in which None matches any size."""
    given = shape_of(name, tensor)
    _raise_fault(shape_fault(name, given, expected, meaning))
    return given


def _check_mask(name: str, mask: Any, expected: Shape, meaning: str) -> None:
    """Raise unless `mask` has the `expected` shape and, if values can be read, holds only 0 and 1."""
    check_shape(name, mask, expected, meaning)
    # No `:=` in these functions: AutoGraph, which converts them inside tf.function, does not support it.
    values = concrete_values(mask)
    if values is not None:
        wrong = values[(values != 0) & (values != 1)]
        if wrong.size:
            raise TensorError(mask_value_message(name, float(wrong[0])))


def check_ids(name: str, ids: Any, count: int, parameter: str) -> None:
    """Raise unless `ids` are integers in 0..count-1; `parameter` names where `count` comes from."""
    dtype = dtype_of(ids)
    # When Keras builds a model that contains ours, as on loading, placeholders have its default dtype.
    if not is_integer(dtype) and not in_symbolic_scope():
        raise TensorError(f"{name} must be integers, got {dtype}: use int64 or int32")
    values = concrete_values(ids)
    if values is not None and values.size:
        _raise_fault(id_fault(name, int(values.min()), int(values.max()), count, parameter))


def _raise_fault(fault: str | None) -> None:
    if fault is not None:
        raise TensorError(fault)


def assert_ids_in_graph(name: str, ids: Any, count: int) -> Any:
    """Return the ids; symbolic ones get a check that TensorFlow's graph performs when it runs.

    Graphs compiled by XLA omit the check. On the other backends a graph cannot raise.
    """
    if keras.config.backend() != "tensorflow":
        return ids
    import tensorflow as tf

    if hasattr(ids, "numpy"):  # `check_ids` checked the values, or they are on an accelerator
        return ids
    # As int64, because `count` may be more than the dtype of the ids can hold.
    lowest, highest = (tf.cast(found, tf.int64) for found in (tf.reduce_min(ids), tf.reduce_max(ids)))
    is_right = tf.logical_and(lowest >= 0, highest < count)
    message = f"{name} has ids out of range, expected 0..{count - 1}, got these lowest and highest ids"
    with tf.control_dependencies([tf.debugging.Assert(is_right, [message, lowest, highest])]):
        return tf.identity(ids)


def _check_numbers(name: str, tensor: Any, source: str) -> None:
    """Raise unless `tensor` has finite real numbers; `source` names what to check if it has not."""
    dtype = dtype_of(tensor)
    if "complex" in dtype:
        raise TensorError(complex_numbers_message(name, dtype, source))
    values = concrete_values(tensor)
    if values is not None and not bool(np.isfinite(values).all()):
        raise TensorError(not_finite_message(name, source))


def shape_of(name: str, tensor: Any) -> Shape:
    """Return the shape of a tensor or NumPy array, with None for an axis that is not known yet.

    Raises:
        TensorError: it is neither, is not dense, or has an unknown number of axes.
    """
    shape, kind = getattr(tensor, "shape", None), type(tensor).__name__
    if kind in _NOT_DENSE:
        raise TensorError(f"{name} is a {kind}, expected a dense tensor: pad it, and pass a mask")
    if shape is None or isinstance(tensor, keras.Variable) or not hasattr(tensor, "dtype"):
        raise TensorError(f"{name} must be a tensor or a NumPy array, got {kind}")
    try:
        # During export JAX has symbolic sizes.
        return tuple(size if isinstance(size, int) else None for size in shape)
    except ValueError:  # TensorFlow's shape of unknown length
        raise TensorError(f"{name} has an unknown number of axes: set its shape in the pipeline") from None


def dtype_of(tensor: Any) -> str:
    """Return the name of a tensor's dtype, without the name of the library."""
    return str(tensor.dtype).removeprefix("<dtype: '").removesuffix("'>").removeprefix("torch.")


def is_integer(dtype: str) -> bool:
    """Whether the dtype of this name is an integer type."""
    return dtype.startswith(("int", "uint"))

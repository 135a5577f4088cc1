"""Checks of what a caller hands to a Keras model; each fault is one clear TensorError.

Shapes and dtypes are checked always, also of symbolic tensors, as far as they are known. Values are checked
only where reading them has no side effect: not while a graph is made, and not on an accelerator (a check
would wait for its queue). Of NumPy arrays they are checked always. The counterpart of `model/checks.py`.

Shapes: B batch, W words, O objects, H hidden, D feature width, P position width, C classes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from lxmert.configuration import IMAGES_PER_SENTENCE, VISUAL_TASKS, LxmertConfig
from lxmert.errors import TensorError
from lxmert.model_keras.losses import are_soft

Shape = tuple[int | None, ...]


class _Given(NamedTuple):
    """What is known of a tensor, to be checked in its place."""

    shape: Shape
    dtype: Any
    values: np.ndarray | None


def values_of(tensor: Any) -> np.ndarray | None:
    """The values as a NumPy array where looking at them costs neither a graph nor a wait, else None."""
    if isinstance(tensor, np.ndarray | _Given):
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
    _check_objects(config, batch, arguments)


def check_inputs_of_pairs(config: LxmertConfig, arguments: Mapping[str, Any]) -> None:
    """Check the inputs of TFLxmertForVisualReasoning: as `check_inputs`, objects (B, 2, O, ...).

    Raises:
        TensorError: on the first fault.
    """
    of_one_image = dict(arguments)
    for name, axes in (("visual_feats", 4), ("visual_pos", 4), ("visual_attention_mask", 3)):
        if name not in arguments:
            continue
        objects = arguments[name]
        shape = _shape_of(name, objects)
        if len(shape) != axes or shape[1] not in (IMAGES_PER_SENTENCE, None):
            inner = ("any",) * (axes - 2)
            raise TensorError(
                f"{name} has shape {shape}, expected ({', '.join(('any', '2', *inner))}): each sentence is "
                "about a left and a right image"
            )
        of_one_image[name] = _Given((shape[0], *shape[2:]), objects.dtype, values_of(objects))
    check_inputs(config, of_one_image)


def _check_words(config: LxmertConfig, arguments: Mapping[str, Any]) -> int | None:
    ids, vectors = arguments.get("input_ids"), arguments.get("inputs_embeds")
    if (ids is None) == (vectors is None):
        got = "neither" if ids is None else "both"
        raise TensorError(f"give exactly one of input_ids and inputs_embeds, got {got}")
    if ids is not None:
        batch, length = check_shape("input_ids", ids, (None, None), "batch, words")
        check_ids("input_ids", ids, config.vocab_size, "vocab_size")
    else:
        wish = (None, None, config.hidden_size)
        batch, length, _ = check_shape("inputs_embeds", vectors, wish, "batch, words, hidden_size")
        _check_numbers("inputs_embeds", vectors, "what makes the word vectors")
    if batch == 0:
        raise TensorError("the batch is empty: give at least one text with its image")
    if length == 0:
        raise TensorError("the text has no word piece: give at least one per row, such as [CLS]")
    if length is not None and length > config.max_position_embeddings:
        raise TensorError(
            f"the text has {length} word pieces, the model knows {config.max_position_embeddings} positions "
            "(max_position_embeddings): truncate the text"
        )
    # No `:=` here: AutoGraph, which reads these functions inside tf.function, does not know it.
    for name in ("attention_mask", "token_type_ids"):
        if arguments.get(name) is not None:
            check_shape(name, arguments[name], (batch, length), "batch, words")
    if arguments.get("token_type_ids") is not None:
        check_ids("token_type_ids", arguments["token_type_ids"], config.type_vocab_size, "type_vocab_size")
    return batch


def _check_objects(config: LxmertConfig, batch: int | None, arguments: Mapping[str, Any]) -> None:
    for name in ("visual_feats", "visual_pos"):
        if arguments.get(name) is None:
            raise TensorError(
                f"{name} is missing: LXMERT needs the objects of the image, see LxmertProcessor"
            )
    features, positions = arguments["visual_feats"], arguments["visual_pos"]
    wish: Shape = (batch, None, config.visual_feat_dim)
    _, count, _ = check_shape("visual_feats", features, wish, "batch, objects, visual_feat_dim")
    if count == 0:
        raise TensorError(
            "visual_feats has no object: give at least one per image (visual_attention_mask can hide it)"
        )
    wish = (batch, count, config.visual_pos_dim)
    check_shape("visual_pos", positions, wish, "batch, objects, visual_pos_dim")
    if arguments.get("visual_attention_mask") is not None:
        check_shape(
            "visual_attention_mask", arguments["visual_attention_mask"], (batch, count), "batch, objects"
        )
    for name, values in (("visual_feats", features), ("visual_pos", positions)):
        _check_numbers(name, values, "the feature extractor")


def check_class_ids(name: str, targets: Any, shape: Shape, classes: int) -> None:
    """Raise unless `targets` are class ids of this shape, or the same flattened; -100 and -1 are no label."""
    given = _shape_of(name, targets)
    is_column = len(shape) == 1 and _fits(given, (*shape, 1))
    if not (_fits_or_is_flat(given, shape) or is_column):
        raise TensorError(f"{name} has shape {given}, expected {shape}: one class id for each row of scores")
    dtype = _dtype_of(targets)
    if not _is_integer(dtype):
        raise TensorError(f"{name} must be integer class ids, got {dtype}")
    values = values_of(targets)
    if values is None:
        return
    wrong = values[(values != -100) & (values != -1) & ((values < 0) | (values >= classes))]
    if wrong.size:
        raise TensorError(
            f"{name} has the class id {int(wrong.flat[0])}, expected 0..{classes - 1}, or -100 or -1 for none"
        )


def check_answers(name: str, targets: Any, batch: int | None, classes: int) -> None:
    """Raise unless `targets` are class ids (B,) or (B, 1), or scores (B, C) of at most 1."""
    given = _shape_of(name, targets)
    if not are_soft(targets, classes):
        if not (_fits(given, (batch,)) or _fits(given, (batch, 1))):
            raise TensorError(
                f"{name} has shape {given}, expected class ids ({batch},) or scores ({batch}, {classes})"
            )
        check_class_ids(name, targets, (batch,), classes)
        return
    check_shape(name, targets, (batch, classes), "batch, answers")
    values = values_of(targets)
    if values is not None and not bool((values <= 1).all()):
        raise TensorError(
            f"{name} has scores that are not in 0..1: give soft scores or a one-hot row per question"
        )


def check_object_labels(config: LxmertConfig, targets: Any, arguments: Mapping[str, Any]) -> None:
    """Raise unless `targets` are pairs of target and weight for some of the object tasks."""
    if not isinstance(targets, Mapping):
        raise TensorError(f"obj_labels must be a dictionary by task, got {type(targets).__name__}")
    unknown = set(targets) - set(VISUAL_TASKS)
    if unknown:
        raise TensorError(
            f"obj_labels has the unknown key(s) {sorted(unknown)}, known are {list(VISUAL_TASKS)}"
        )
    features = arguments["visual_feats"]
    shape: Shape = tuple(features.shape[:2])
    is_real = values_of(arguments["visual_attention_mask"]) if "visual_attention_mask" in arguments else None
    classes = {"obj": config.num_object_labels, "attr": config.num_attr_labels}
    for task, pair in targets.items():
        name = f"obj_labels[{task!r}]"
        count = len(pair) if isinstance(pair, tuple | list) else None
        if count != 2:
            got = type(pair).__name__ if count is None else f"{count} values"
            raise TensorError(f"{name} must be a pair of target and weight, got {got}")
        wanted, weight = pair
        given = _shape_of(f"{name}: the weight", weight)
        if not _fits_or_is_flat(given, shape):
            raise TensorError(f"{name}: the weight has shape {given}, expected {shape}")
        if task == "feat":
            given = _shape_of(f"{name}: the target", wanted)
            wish = (*shape, config.visual_feat_dim)
            if not (_fits(given, wish) or (_fits_or_is_flat(given[:1], shape) and given[1:] == wish[2:])):
                raise TensorError(f"{name}: the target has shape {given}, expected {wish}")
        else:
            check_class_ids(name, _without_padding(wanted, is_real), shape, classes[task])


def _without_padding(targets: Any, is_real: np.ndarray | None) -> Any:
    """Class ids with -100 where there is no object, where both can be read: padding may hold anything."""
    values = values_of(targets)
    if values is None or is_real is None or values.size != is_real.size:
        return targets
    return np.where(is_real.reshape(values.shape) != 0, values, -100)


def check_shape(name: str, tensor: Any, expected: Shape, meaning: str) -> Shape:
    """The shape of `tensor`; raises unless it is as `expected`, where None stands for any size."""
    given = _shape_of(name, tensor)
    if not _fits(given, expected):
        wish = ", ".join("any" if wanted is None else str(wanted) for wanted in expected)
        raise TensorError(f"{name} has shape {given}, expected ({wish}): {meaning}")
    return given


def check_ids(name: str, ids: Any, count: int, parameter: str) -> None:
    """Raise unless `ids` are integers in 0..count-1; `parameter` names where `count` comes from."""
    dtype = _dtype_of(ids)
    if not _is_integer(dtype):
        raise TensorError(f"{name} must be integers, got {dtype}: give int64 or int32")
    values = values_of(ids)
    if values is None or not values.size:
        return
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest >= count:
        wrong = lowest if lowest < 0 else highest
        raise TensorError(f"{name} has the id {wrong}, expected 0..{count - 1} ({parameter} is {count})")


def _check_numbers(name: str, tensor: Any, maker: str) -> None:
    """Raise unless `tensor` has finite real numbers; `maker` names what to look at when it has not."""
    dtype = _dtype_of(tensor)
    if "complex" in dtype:
        raise TensorError(f"{name} must be real numbers, got {dtype}: check {maker}")
    values = values_of(tensor)
    if values is not None and not bool(np.isfinite(values).all()):
        raise TensorError(f"{name} has values that are not finite (NaN or infinity): check {maker}")


def _shape_of(name: str, tensor: Any) -> Shape:
    shape = getattr(tensor, "shape", None)
    if shape is None or isinstance(tensor, keras.Variable) or not hasattr(tensor, "dtype"):
        raise TensorError(f"{name} must be a tensor or a NumPy array, got {type(tensor).__name__}")
    try:
        return tuple(None if size is None else int(size) for size in shape)
    except ValueError:  # TensorFlow's shape of unknown length
        raise TensorError(f"{name} has an unknown number of axes: set its shape in the pipeline") from None


def _dtype_of(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("<dtype: '").removesuffix("'>").removeprefix("torch.")


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def _fits(given: Shape, expected: Shape) -> bool:
    if len(given) != len(expected):
        return False
    return all(
        size is None or wanted is None or size == wanted for size, wanted in zip(given, expected, strict=True)
    )


def _fits_or_is_flat(given: Shape, shape: Shape) -> bool:
    """Whether a tensor has this shape, or the same flattened: as many values in another order do not fit."""
    known = [size for size in shape if size is not None]
    count = int(np.prod(known)) if len(known) == len(shape) else None
    return _fits(given, shape) or _fits(given, (count,))

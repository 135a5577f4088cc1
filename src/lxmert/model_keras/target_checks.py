"""Checks of the targets of a Keras model; each fault is one clear TensorError.

See `checks.py` for what is checked when.

Shapes: B batch, O objects, C classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lxmert.configuration import VISUAL_TASKS, LxmertConfig
from lxmert.errors import TensorError
from lxmert.faults import (
    answer_scores_message,
    answer_shape_message,
    class_dtype_message,
    class_id_message,
    class_shape_message,
    object_tasks_fault,
    shape_fits,
    target_pair_fault,
    target_shape_message,
    weight_shape_message,
)
from lxmert.model_keras.checks import Shape, check_shape, concrete_values, dtype_of, is_integer, shape_of
from lxmert.model_keras.losses import are_soft


def check_class_ids(name: str, targets: Any, shape: Shape, classes: int) -> None:
    """Raise unless `targets` are class ids of this shape, or the same flattened; -100 and -1 are no label."""
    given = shape_of(name, targets)
    is_column = len(shape) == 1 and shape_fits(given, (*shape, 1))
    if not (_fits_or_is_flat(given, shape) or is_column):
        raise TensorError(class_shape_message(name, given, shape))
    dtype = dtype_of(targets)
    if not is_integer(dtype):
        raise TensorError(class_dtype_message(name, dtype))
    values = concrete_values(targets)
    if values is None:
        return
    wrong = values[(values != -100) & (values != -1) & ((values < 0) | (values >= classes))]
    if wrong.size:
        raise TensorError(class_id_message(name, int(wrong.flat[0]), classes))


def check_answers(name: str, targets: Any, batch: int | None, classes: int) -> None:
    """Raise unless `targets` are class ids (B,) or (B, 1), or scores (B, C) of at most 1."""
    given = shape_of(name, targets)
    if classes > 1 and len(given) == 2 and given[1] is None:
        raise TensorError(
            f"{name} has an unknown number of columns, one for class ids or {classes} for scores: set its "
            "shape in the pipeline, and give the answers of all data in one form"
        )
    if not are_soft(targets, classes):
        if not (shape_fits(given, (batch,)) or shape_fits(given, (batch, 1))):
            raise TensorError(answer_shape_message(name, given, batch, classes))
        check_class_ids(name, targets, (batch,), classes)
        return
    check_shape(name, targets, (batch, classes), "batch, answers")
    values = concrete_values(targets)
    if values is not None and not bool((values <= 1).all()):
        raise TensorError(answer_scores_message(name))


def check_object_labels(config: LxmertConfig, targets: Any, arguments: Mapping[str, Any]) -> None:
    """Raise unless `targets` are pairs of target and weight for some of the object tasks."""
    if not isinstance(targets, Mapping):
        raise TensorError(f"obj_labels must be a dictionary by task, got {type(targets).__name__}")
    fault = object_tasks_fault(targets, VISUAL_TASKS)
    if fault is not None:
        raise TensorError(fault)
    features = arguments["visual_feats"]
    shape: Shape = tuple(features.shape[:2])
    is_real = (
        concrete_values(arguments["visual_attention_mask"]) if "visual_attention_mask" in arguments else None
    )
    classes = {"obj": config.num_object_labels, "attr": config.num_attr_labels}
    for task, pair in targets.items():
        name = f"obj_labels[{task!r}]"
        fault = target_pair_fault(name, pair)
        if fault is not None:
            raise TensorError(fault)
        target, weight = pair
        given = shape_of(f"{name}: the weight", weight)
        if not _fits_or_is_flat(given, shape):
            raise TensorError(weight_shape_message(name, given, shape))
        if task == "feat":
            given = shape_of(f"{name}: the target", target)
            expected = (*shape, config.visual_feat_dim)
            if not (
                shape_fits(given, expected)
                or (_fits_or_is_flat(given[:1], shape) and given[1:] == expected[2:])
            ):
                raise TensorError(target_shape_message(name, given, expected))
        else:
            check_class_ids(name, _without_padding(target, is_real), shape, classes[task])


def _without_padding(targets: Any, is_real: np.ndarray | None) -> Any:
    """Set class ids of padding to -100, if ids and mask can be read: padding may hold any value."""
    values = concrete_values(targets)
    if values is None or is_real is None or values.size != is_real.size:
        return targets
    return np.where(is_real.reshape(values.shape) != 0, values, -100)


def _fits_or_is_flat(given: Shape, shape: Shape) -> bool:
    """Whether a tensor has this shape, or the same flattened; other shapes of equal size do not fit."""
    known = [size for size in shape if size is not None]
    count = int(np.prod(known)) if len(known) == len(shape) else None
    return shape_fits(given, shape) or shape_fits(given, (count,))

"""The losses of LXMERT's pre-training and of question answering (paper section 3.3).

All are computed in at least float32 and are scalars. A target of -100 (torch's mark) or -1 (the authors'
mark) means "not labelled". Where nothing is labelled a loss is 0. Shapes, dtypes and, where they can be read,
values of targets are checked in `target_checks.py`, before a graph runs.

Shapes: B batch, O objects, C classes, D feature width, N rows.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

ObjectLabels = Mapping[str, tuple[Any, Any]]
"""A pair of target and weight by task of VISUAL_TASKS."""


def class_loss(scores: Any, targets: Any) -> Any:
    """Mean cross-entropy over the labelled targets.

    Args:
        scores: (..., C).
        targets: class ids (...), or the same flattened, or for scores (B, C) a column (B, 1); -100 and -1 are
            not labelled.
    """
    by_row, labelled = _cross_entropy(scores, targets)  # (N,), (N,)
    return ops.sum(by_row) / ops.maximum(ops.sum(labelled), 1.0)


def answer_loss(scores: Any, targets: Any) -> Any:
    """Compute the loss of answers, depending on the form of the targets.

    Class ids (B,) or (B, 1): mean cross-entropy over the labelled rows. One-hot or soft scores (B, C) in
    0..1: binary cross-entropy, summed over the classes and averaged over the rows (the authors' fine-tuning
    loss); a row of zeros is an ordinary target, a row with a negative value is not labelled.
    """
    if not are_soft(targets, scores.shape[-1]):
        return class_loss(scores, targets)
    scores = _at_least_float32(scores)
    targets = ops.cast(targets, scores.dtype)
    labelled = ops.cast(ops.all(targets >= 0, axis=1), scores.dtype)  # (B,)
    targets = ops.maximum(targets, 0.0)
    by_row = ops.sum(ops.softplus(scores) - scores * targets, axis=1)  # (B,)
    return ops.sum(by_row * labelled) / ops.maximum(ops.sum(labelled), 1.0)


def are_soft(targets: Any, classes: int) -> bool:
    """Whether answer targets are scores (B, C) rather than class ids (B,) or (B, 1)."""
    if len(targets.shape) != 2 or targets.shape[1] not in (classes, None):
        return False
    return classes > 1 or keras.backend.is_float_dtype(keras.backend.standardize_dtype(targets.dtype))


def object_losses(
    scores: Mapping[str, Any], targets: ObjectLabels, is_real: Any, factor: float
) -> dict[str, Any]:
    """Compute the losses of the object prediction tasks that have both scores and targets.

    The mean is over all real objects, including those of weight 0, as in the authors' code.

    Args:
        scores: by task, obj and attr (B, O, C), feat (B, O, D).
        targets: by task, a pair of target and weight. The target is a class id (B, O), for feat a feature
            (B, O, D); the weight (B, O) is a confidence, or 1 for masked objects and 0 for others.
        is_real: (B, O), 1 for an object, 0 for padding, which never counts; None if all are real.
        factor: multiplies every loss (`visual_loss_normalizer`).
    """
    return {
        task: _object_loss(task, scores[task], targets[task], is_real) * factor
        for task in scores
        if task in targets
    }


def total_loss(losses: Mapping[str, Any], pooled_output: Any) -> Any:
    """Sum the losses; without any, return a 0 that depends on the model, so that it has a gradient."""
    zero = ops.sum(_at_least_float32(pooled_output)) * 0.0
    return sum(losses.values(), start=zero)


def _object_loss(task: str, scores: Any, pair: tuple[Any, Any], is_real: Any) -> Any:
    target, weight = pair
    scores = _at_least_float32(scores)
    weight = ops.reshape(ops.cast(weight, scores.dtype), (-1,))  # (N,)
    if is_real is None:
        real = ops.ones_like(weight)
    else:
        real = ops.cast(ops.reshape(ops.not_equal(is_real, 0), (-1,)), scores.dtype)  # (N,)
    # Targets of padding are overwritten, not only weighted by 0: they may be NaN, and 0 times NaN is NaN.
    weight = ops.where(real > 0, weight, 0.0)
    if task == "feat":
        rows = ops.reshape(scores, (-1, scores.shape[-1]))  # (N, D)
        target = ops.reshape(ops.cast(target, rows.dtype), (-1, rows.shape[-1]))
        target = ops.where(real[:, None] > 0, target, 0.0)
        by_object = ops.mean(_smooth_l1(rows - target), axis=1)
    else:
        hidden = real == 0
        by_object, _ = _cross_entropy(scores, ops.where(hidden, -100, ops.reshape(target, (-1,))))
    return ops.sum(by_object * weight) / ops.maximum(ops.sum(real), 1.0)


def _cross_entropy(scores: Any, targets: Any) -> tuple[Any, Any]:
    """Cross-entropy of scores (..., C) and ids, 0 where not labelled; and 1 where labelled: both (N,)."""
    rows = ops.reshape(_at_least_float32(scores), (-1, scores.shape[-1]))  # (N, C)
    targets = ops.reshape(ops.cast(targets, "int32"), (-1,))  # (N,)
    labelled = targets >= 0
    known = ops.where(labelled, targets, 0)
    by_row = ops.sparse_categorical_crossentropy(known, rows, from_logits=True)
    return ops.where(labelled, by_row, 0.0), ops.cast(labelled, rows.dtype)


def _smooth_l1(difference: Any) -> Any:
    """Half the square up to an absolute value of 1, linear beyond."""
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * ops.square(difference), size - 0.5)


def _at_least_float32(scores: Any) -> Any:
    return ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))

"""The losses of LXMERT's pre-training and of question answering (paper section 3.3).

All are computed in at least float32 and are scalars. A target of -100 (torch's convention) or -1 (the
authors') means "not labelled". If nothing is labelled a loss is 0, but still depends on the scores, so that
it can be differentiated.

Shapes: B batch, O objects, C classes, D feature width, L labelled objects of a batch.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lxmert.configuration import VISUAL_TASKS
from lxmert.errors import TensorError
from lxmert.faults import (
    answer_scores_message,
    answer_shape_message,
    class_dtype_message,
    class_id_message,
    class_shape_message,
    object_tasks_fault,
    target_pair_fault,
    target_shape_message,
    weight_shape_message,
)
from lxmert.model.checks import can_read_values, check_is_tensor, raise_fault

ObjectLabels = Mapping[str, tuple[Tensor, Tensor]]
"""By task of VISUAL_TASKS, a pair of target and weight."""


def class_loss(scores: Tensor, targets: Tensor, name: str) -> Tensor:
    """Mean cross-entropy over the labelled targets.

    Args:
        scores: (..., C).
        targets: class ids (...), or the same flattened, or for scores (B, C) a column (B, 1); -100 and -1 are
            not labelled.
        name: of the argument that holds the targets, for error messages.

    Raises:
        TensorError: targets of a wrong shape or dtype, or one outside 0..C-1.
    """
    shape = tuple(scores.shape[:-1])
    scores = _at_least_float32(scores).flatten(0, -2)  # (N, C)
    targets = _prepare_class_ids(targets, scores, shape, name)  # (N,)
    summed = F.cross_entropy(scores, targets, ignore_index=-100, reduction="sum")
    return summed / (targets != -100).sum().clamp(min=1)


def answer_loss(scores: Tensor, targets: Tensor, name: str) -> Tensor:
    """Loss of answers, which depends on the form of the targets.

    Class ids (B,) or (B, 1): mean cross-entropy over the labelled rows. One-hot or soft scores (B, C) in
    0..1: binary cross-entropy, summed over the classes and averaged over the rows (the authors' fine-tuning
    loss); a row of zeros is a target like any other, a row with a negative value is not labelled.

    Raises:
        TensorError: targets of a wrong shape, or out of range.
    """
    check_is_tensor(name, targets)
    batch, classes = scores.shape
    is_soft = tuple(targets.shape) == (batch, classes) and (classes > 1 or targets.is_floating_point())
    if not is_soft:
        if tuple(targets.shape) not in ((batch,), (batch, 1)):
            raise TensorError(answer_shape_message(name, tuple(targets.shape), batch, classes))
        return class_loss(scores, targets, name)
    scores = _at_least_float32(scores)
    targets = targets.to(scores)
    if can_read_values(targets) and not bool((targets <= 1).all()):
        raise TensorError(answer_scores_message(name))
    labelled = (targets >= 0).all(dim=1)  # (B,)
    by_class = F.binary_cross_entropy_with_logits(scores, targets.clamp(min=0), reduction="none")  # (B, C)
    return (by_class.sum(dim=1) * labelled).sum() / labelled.sum().clamp(min=1)


def object_losses(
    scores: dict[str, Tensor],
    targets: ObjectLabels,
    is_real: Tensor | None,
    factor: float,
) -> dict[str, Tensor]:
    """Losses of the object prediction tasks that have both scores and targets.

    The mean is over all real objects, including those of weight 0, as in the authors' code.

    Args:
        scores: by task, obj and attr (B, O, C), feat (B, O, D).
        targets: by task, a pair of target and weight. The target is a class id (B, O), for feat a feature
            (B, O, D); the weight (B, O) is a confidence, or 1 where the object was masked and 0 where not.
        is_real: (B, O), 1 for an object, 0 for padding, which never counts; None when all are real.
        factor: factor of every loss (`visual_loss_normalizer`).

    Raises:
        TensorError: an unknown task, or targets that do not match the scores.
    """
    raise_fault(object_tasks_fault(targets, VISUAL_TASKS))
    return {
        task: _object_loss(task, scores[task], targets[task], is_real) * factor
        for task in scores
        if task in targets
    }


def labelled_word_mask(labels: Tensor, shape: tuple[int, int]) -> Tensor:
    """Where a word piece has a label: (B, W) bool.

    Args:
        labels: (B, W) integers, or the same flattened.
        shape: B and W.

    Raises:
        TensorError: labels of a wrong shape.
    """
    check_is_tensor("labels", labels)
    if not _matches_shape(labels, shape):
        raise TensorError(class_shape_message("labels", tuple(labels.shape), shape))
    return labels.reshape(shape) >= 0


def labelled_object_masks(
    targets: ObjectLabels, shape: tuple[int, int], is_real: Tensor | None
) -> dict[str, Tensor]:
    """Where an object counts in the loss of a task: (B, O) bool by task.

    An object counts if it is not padding, its weight is not 0 and, for obj and attr, it has a class id.

    Args:
        targets: as for `object_losses`.
        shape: B and O.
        is_real: as for `object_losses`.

    Raises:
        TensorError: an unknown task, or a target that is not a pair or has a wrong shape.
    """
    raise_fault(object_tasks_fault(targets, VISUAL_TASKS))
    labelled = {}
    for task, pair in targets.items():
        target, weight = _validate_target_pair(task, pair, shape)
        rows = weight.reshape(shape) != 0
        if task != "feat":
            if not _matches_shape(target, shape):
                raise TensorError(
                    f"obj_labels[{task!r}] has shape {tuple(target.shape)}, expected {shape}: one class id "
                    "for each object"
                )
            rows = rows & (target.reshape(shape) >= 0)
        labelled[task] = rows if is_real is None else rows & (is_real != 0)
    return labelled


def labelled_object_losses(
    scores: dict[str, Tensor],
    targets: ObjectLabels,
    rows: Mapping[str, Tensor],
    is_real: Tensor | None,
    factor: float,
) -> dict[str, Tensor]:
    """Compute the same values as `object_losses`, from the scores of labelled objects only.

    Args:
        scores: by task, obj and attr (L, C), feat (L, D), L in the order of `rows`.
        targets: as for `object_losses`.
        rows: by task, (B, O), the result of `labelled_object_masks`.
        is_real: as for `object_losses`.
        factor: factor of every loss.
    """
    losses = {}
    for task in scores:
        if task not in targets:
            continue
        labelled = rows[task]
        target, weight = targets[task]
        pair = (
            _select_objects(target, labelled)[None],
            _select_objects(weight, labelled)[None],
        )  # (1, L, ...)
        mean = _object_loss(task, scores[task][None], pair, None)
        # This mean is over labelled objects; that of `object_losses` is over all real ones.
        real = labelled.numel() if is_real is None else (is_real != 0).sum().clamp(min=1)
        losses[task] = mean * (labelled.sum() / real) * factor
    return losses


def _select_objects(values: Tensor, mask: Tensor) -> Tensor:
    """Select values (B, O, ...), or the same flattened, by a mask of objects (B, O): (L, ...)."""
    is_flat = values.shape[: mask.ndim] != mask.shape
    return values[mask.flatten()] if is_flat else values[mask]


def _validate_target_pair(
    task: str, pair: tuple[Tensor, Tensor], shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return target and weight of a task, after checking that they are tensors, the weight of this shape."""
    name = f"obj_labels[{task!r}]"
    raise_fault(target_pair_fault(name, pair))
    target, weight = pair
    check_is_tensor(f"{name}: the weight", weight)
    check_is_tensor(f"{name}: the target" if task == "feat" else name, target)
    if not _matches_shape(weight, shape):
        raise TensorError(weight_shape_message(name, tuple(weight.shape), shape))
    return target, weight


def _object_loss(task: str, scores: Tensor, pair: tuple[Tensor, Tensor], is_real: Tensor | None) -> Tensor:
    name = f"obj_labels[{task!r}]"
    scores = _at_least_float32(scores)
    shape = tuple(scores.shape[:2])
    target, weight = _validate_target_pair(task, pair, shape)
    weight = weight.to(scores).flatten()  # (B*O,)
    real = torch.ones_like(weight) if is_real is None else (is_real != 0).to(scores).flatten()  # (B*O,)
    rows = scores.flatten(0, 1)  # (B*O, C or D)
    # Targets of padding are overwritten, not only weighted by 0: they may be NaN, and 0 times NaN is NaN.
    if task == "feat":
        if tuple(target.shape) not in (tuple(scores.shape), tuple(rows.shape)):
            raise TensorError(target_shape_message(name, tuple(target.shape), tuple(scores.shape)))
        target = target.to(rows).reshape(rows.shape).masked_fill(real[:, None] == 0, 0.0)
        by_object = F.smooth_l1_loss(rows, target, reduction="none").mean(dim=1)
    else:
        ids = _prepare_class_ids(target, rows, shape, name, hidden=real == 0)
        by_object = F.cross_entropy(rows, ids, ignore_index=-100, reduction="none")
    return (by_object * weight.masked_fill(real == 0, 0.0)).sum() / real.sum().clamp(min=1)


def _at_least_float32(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _matches_shape(given: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether `given` has this shape or is its flattening; other shapes of as many values do not fit."""
    return tuple(given.shape) == shape or tuple(given.shape) == (math.prod(shape),)


def _prepare_class_ids(
    targets: Tensor, scores: Tensor, shape: tuple[int, ...], name: str, hidden: Tensor | None = None
) -> Tensor:
    """Return class ids as a flat vector on the device of the scores (N, C), -100 if unlabelled or hidden.

    `shape` is that of the scores before flattening, without the class axis.
    """
    check_is_tensor(name, targets)
    classes = scores.shape[1]
    is_column = len(shape) == 1 and tuple(targets.shape) == (*shape, 1)
    if not (_matches_shape(targets, shape) or is_column):
        raise TensorError(class_shape_message(name, tuple(targets.shape), shape))
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise TensorError(class_dtype_message(name, targets.dtype))
    targets = targets.to(device=scores.device, dtype=torch.long).flatten()
    unlabelled = targets == -1 if hidden is None else (targets == -1) | hidden
    targets = targets.masked_fill(unlabelled, -100)
    if can_read_values(targets):
        wrong = targets[(targets != -100) & ((targets < 0) | (targets >= classes))]
        if wrong.numel():
            raise TensorError(class_id_message(name, int(wrong[0]), classes))
    return targets

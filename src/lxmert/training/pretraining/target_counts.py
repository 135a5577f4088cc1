"""The tasks of pre-training, and the numbers of their targets in a batch.

The model's losses are means over a batch; these counts turn them into means over several batches, of an
update (`base_trainer.GlobalBatchTrainer`), between two logs, of a validation.

Shapes: B batch, W words, O objects, T tasks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxmert.data.pretraining_settings import ObjectTarget

OBJECT_TASKS: Mapping[str, ObjectTarget] = {
    "object_labels": "obj",
    "attribute_labels": "attr",
    "feature_regression": "feat",
}
"""The tasks that `visual_loss_normalizer` weights, and the names of their targets in `obj_labels`."""

CLASS_TASKS = ("object_labels", "attribute_labels")
"""Those of them that classify objects."""

CLASS_TARGETS: Mapping[str, str] = {"masked_words": "labels", "matched": "matched_label", "qa": "ans"}
"""The other tasks with class ids, and the names of these in a batch."""

TASKS: Mapping[str, str] = {
    "masked_words": "masked_lm",
    "matched": "matched",
    **OBJECT_TASKS,
    "places": "place",
    "qa": "qa",
}
"""The tasks by their names in metrics, and the model's names of their losses.

In recipes a task's weight has the task's name, but for "places", whose weight is `place_weight`.
"""

TASK_INDEX = {task: index for index, task in enumerate(TASKS)}


class TargetCounts(NamedTuple):
    """Counts and total weights of each task's targets in a batch, in the order of TASKS; 0 without targets.

    Attributes:
        terms: (T,) terms of the model's mean: labelled words, pairs, real objects, labelled questions.
        weights: (T,) sum of the weights: the same, except for objects: the confidences or the masked ones.
    """

    terms: Tensor
    weights: Tensor


def count_targets(batch: Mapping[str, Any]) -> TargetCounts:
    """Count the targets in a batch of model inputs."""
    real = (batch["visual_attention_mask"] != 0).float()  # (B, O)
    terms = torch.zeros(len(TASKS), device=real.device)
    weights = torch.zeros_like(terms)
    for task, name in CLASS_TARGETS.items():
        if batch.get(name) is not None:
            terms[TASK_INDEX[task]] = weights[TASK_INDEX[task]] = (batch[name] >= 0).sum()
    for task, target in OBJECT_TASKS.items():
        pair = (batch.get("obj_labels") or {}).get(target)
        if pair is not None:
            target_values, weight = pair
            counts = real if task == "feature_regression" else real * (target_values >= 0)
            terms[TASK_INDEX[task]] = real.sum()
            weights[TASK_INDEX[task]] = (weight * counts).sum()
    terms[TASK_INDEX["places"]] = weights[TASK_INDEX["places"]] = real.sum()
    return TargetCounts(terms, weights)

"""How often the heads are right about a batch: the accuracies beside the losses.

Shapes: B batch, W words, O objects, T tasks, L labelled places.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxmert.model import LxmertForPreTrainingOutput
from lxmert.model.losses import labelled_objects
from lxmert.training.pretraining.amounts import CLASS_TARGETS, CLASS_TASKS, OBJECT_TASKS, TASK_INDEX, TASKS


class Hits(NamedTuple):
    """Right predictions of each task and how many there were, in the order of TASKS.

    Attributes:
        right: (T,).
        total: (T,); 0 where there is nothing to be right about.
    """

    right: Tensor
    total: Tensor


def hits_of(output: LxmertForPreTrainingOutput, batch: Mapping[str, Any]) -> Hits:
    """Count in the output of a forward with `return_all_logits=False`; each labelled thing counts 1."""
    right = torch.zeros(len(TASKS), device=batch["visual_pos"].device)
    total = torch.zeros_like(right)

    def count(task: str, scores: Tensor, ids: Tensor) -> None:
        right[TASK_INDEX[task]] = (scores.argmax(dim=-1) == ids).sum()
        total[TASK_INDEX[task]] = len(ids)

    for task, scores in (
        ("masked_words", output.prediction_logits),
        ("matched", output.cross_relationship_score),
        ("qa", output.question_answering_score),
    ):
        ids = batch.get(CLASS_TARGETS[task])
        if ids is not None and scores is not None:
            known = ids >= 0
            # Words come as the labelled ones alone already.
            count(task, scores if task == "masked_words" else scores[known], ids[known])
    targets, predicted = batch.get("obj_labels"), output.object_scores or {}
    if targets:
        mask = batch.get("visual_attention_mask")
        rows = labelled_objects(targets, tuple(batch["visual_pos"].shape[:2]), mask)
        for task in CLASS_TASKS:
            name = OBJECT_TASKS[task]
            if name in predicted:
                count(task, predicted[name], targets[name][0][rows[name]])
    return Hits(right, total)

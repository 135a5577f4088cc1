"""Counting the correct predictions of the heads in a batch, for accuracies logged with the losses.

Shapes: B batch, W words, O objects, T tasks, L labels.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxmert.model import LxmertForPreTrainingOutput
from lxmert.model.losses import labelled_object_masks
from lxmert.training.pretraining.target_counts import (
    CLASS_TARGETS,
    CLASS_TASKS,
    OBJECT_TASKS,
    TASK_INDEX,
    TASKS,
)


class Hits(NamedTuple):
    """Correct predictions and numbers of labels of each task, in the order of TASKS.

    Attributes:
        correct: (T,).
        total: (T,); 0 for tasks without labels.
    """

    correct: Tensor
    total: Tensor


def count_hits(output: LxmertForPreTrainingOutput, batch: Mapping[str, Any]) -> Hits:
    """Count hits in the output of a forward with `return_all_logits=False`; each label counts 1."""
    correct = torch.zeros(len(TASKS), device=batch["visual_pos"].device)
    total = torch.zeros_like(correct)

    def count(task: str, scores: Tensor, ids: Tensor) -> None:
        correct[TASK_INDEX[task]] = (scores.argmax(dim=-1) == ids).sum()
        total[TASK_INDEX[task]] = len(ids)

    for task, scores in (
        ("masked_words", output.prediction_logits),
        ("matched", output.cross_relationship_score),
        ("qa", output.question_answering_score),
    ):
        ids = batch.get(CLASS_TARGETS[task])
        if ids is not None and scores is not None:
            known = ids >= 0
            # Scores of words are those of labelled ones already.
            count(task, scores if task == "masked_words" else scores[known], ids[known])
    targets, predicted = batch.get("obj_labels"), output.object_scores or {}
    if targets:
        rows = labelled_object_masks(
            targets, tuple(batch["visual_pos"].shape[:2]), batch["visual_attention_mask"]
        )
        for task in CLASS_TASKS:
            name = OBJECT_TASKS[task]
            if name in predicted:
                count(task, predicted[name], targets[name][0][rows[name]])
    return Hits(correct, total)

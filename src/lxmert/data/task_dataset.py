"""Batches of model inputs from examples of a fine-tuning task.

Sentences are tokenised once, targets are kept sparse, regions are looked up: a batch costs a few look-ups.
Shapes: B batch, W words (padded to the longest of the batch), O objects, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_source import ObjectLabelSource, RegionSource
from lxmert.data.task_examples import Target, TaskExample
from lxmert.data.token_table import TokenTable, pad_token_ids


class TargetKind(Enum):
    """The form of the targets.

    CLASS: the correct class id (B,), for softmax cross-entropy.
    SOFT: the scores of all classes (B, C), for binary cross-entropy, as in the paper.
    """

    CLASS = "class"
    SOFT = "soft"


class TaskItem(NamedTuple):
    """One example, ready to be batched.

    Attributes:
        token_ids: (W,) int64 with the special tokens.
        region_rows: The row of each of its images in the region source.
        label: Class id, or -100 if the answer is not in the vocabulary.
        scores: Sparse soft scores by class id.
    """

    token_ids: np.ndarray
    region_rows: tuple[int, ...]
    label: int
    scores: Mapping[int, float]


class TaskDataset(Dataset[TaskItem]):
    """Sentences about images whose regions are in a source.

    Args:
        examples: The sentences, in the order of the data set.
        targets: Their correct answers.
        tokenizer: Turns sentences into ids.
        max_length: Maximum number of tokens of a sentence, special tokens included.
        regions: The images' regions; must have every image of the sentences.
        progress: Shows the tokenising.

    Attributes:
        tokens: The sentences' token ids.
    """

    def __init__(
        self,
        examples: Sequence[TaskExample],
        targets: Sequence[Target],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        regions: RegionSource,
        *,
        progress: StartProgress = no_progress,
    ) -> None:
        self.examples = examples
        self.regions = regions
        self.targets = targets
        self.tokens = TokenTable(
            (example.text for example in examples),
            tokenizer,
            max_length,
            progress("Tokenising", len(examples)),
        )
        self._rows = [tuple(regions.rows[image] for image in example.images) for example in examples]

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each sentence."""
        return self.tokens.lengths

    @property
    def answerable_count(self) -> int:
        """Number of examples with at least one answer in the vocabulary."""
        return sum(bool(target.scores) for target in self.targets)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> TaskItem:
        return TaskItem(self.tokens[index], self._rows[index], *self.targets[index])


@dataclass(frozen=True)
class TaskCollator:
    """Collates items into one batch: exactly the arguments of the model's forward, with labels.

    Attributes:
        regions: The source that the items' rows point into.
        pad_token_id: Id of the padding token.
        classes: Number of classes, C.
        target: The form of the labels.
        pad_to_multiple_of: The words' axis is padded to a multiple of this; masked padding changes no result.
        object_labels: The labels of the source's objects, if the model learns to predict them, else None.
    """

    regions: RegionSource
    pad_token_id: int
    classes: int
    target: TargetKind
    pad_to_multiple_of: int = 1
    object_labels: ObjectLabelSource | None = None

    def __call__(self, items: Sequence[TaskItem]) -> dict[str, Any]:
        """Batch the items.

        Returns:
            input_ids, attention_mask, token_type_ids (B, W) int64; visual_feats (B, O, D), visual_pos
            (B, O, 4), visual_attention_mask (B, O); labels (B,) int64 or (B, C) float32; with object labels
            also obj_labels, as for LxmertForPreTraining. If examples are about two images, the visual tensors
            and object labels have an axis of size 2 after the first.
        """
        sentences = [item.token_ids for item in items]
        input_ids, attention_mask = map(
            torch.from_numpy, pad_token_ids(sentences, self.pad_token_id, self.pad_to_multiple_of)
        )
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": torch.zeros_like(input_ids),
            **self._objects(torch.tensor([item.region_rows for item in items])),
            "labels": self._labels(items),
        }

    def _objects(self, rows: Tensor) -> dict[str, Any]:
        """All inputs about the objects of images, given their rows (B, images per example)."""

        def by_example(values: Tensor) -> Tensor:
            return values if rows.shape[1] == 1 else values.unflatten(0, tuple(rows.shape))

        images = rows.flatten()
        visual_inputs = self.regions.batch(images)
        batch: dict[str, Any] = {name: by_example(values) for name, values in visual_inputs.items()}
        if self.object_labels is not None:
            labels = self.object_labels.batch(images, visual_inputs["visual_feats"].shape[1])
            batch["obj_labels"] = {
                task: (by_example(ids), by_example(weights)) for task, (ids, weights) in labels.items()
            }
        return batch

    def _labels(self, items: Sequence[TaskItem]) -> Tensor:
        if self.target is TargetKind.CLASS:
            return torch.tensor([item.label for item in items])
        labels = torch.zeros(len(items), self.classes)
        for row, item in enumerate(items):
            for label, score in item.scores.items():
                labels[row, label] = score
        return labels

"""From examples to batches of model inputs.

Questions are tokenised once, targets are kept sparse, objects are padded once (`RegionTable`): a batch is a
few look-ups. Shapes: B batch, W words (padded to the longest of the batch), C answers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.region_table import RegionTable
from lxmert.data.vqa import VqaExample

# The class id that the model's cross-entropy leaves out.
IGNORED_LABEL = -100


class TargetKind(Enum):
    """What the model learns to say.

    CLASS: the most frequent answer's class id (B,), for softmax cross-entropy.
    SOFT: the scores of all answers (B, C), for binary cross-entropy, as in the paper.
    """

    CLASS = "class"
    SOFT = "soft"


class QuestionItem(NamedTuple):
    """One question, ready to be batched.

    Attributes:
        token_ids: (W,) int64 with the special tokens.
        region_row: The image's row in the region table.
        target: Class id, or -100 where the answer is not in the vocabulary.
        scores: Sparse soft scores by class id.
    """

    token_ids: Tensor
    region_row: int
    target: int
    scores: dict[int, float]


class QuestionDataset(Dataset[QuestionItem]):
    """Questions about images whose regions lie in a table.

    Args:
        examples: The questions, in the order of the data set.
        tokenizer: Turns questions into ids.
        max_length: Most tokens of a question with its special tokens.
        regions: The images' regions; holds every image asked about.
        answers: The vocabulary of targets.
    """

    def __init__(
        self,
        examples: Sequence[VqaExample],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        regions: RegionTable,
        answers: AnswerVocabulary,
    ) -> None:
        self.examples = examples
        self.regions = regions
        # The authors only strip a sentence before they tokenise it.
        questions = [example.question.strip() for example in examples]
        encoded = (
            tokenizer(questions, truncation=True, max_length=max_length)["input_ids"] if questions else []
        )
        self._token_ids = [torch.tensor(ids, dtype=torch.int64) for ids in encoded]
        self._rows = [regions.rows[example.image_id] for example in examples]
        self._scores = [answers.soft_scores(example.answers, normalise=True) for example in examples]
        self._targets = [
            _class_target(example, scores, answers)
            for example, scores in zip(examples, self._scores, strict=True)
        ]

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each question."""
        return [len(ids) for ids in self._token_ids]

    @property
    def answerable(self) -> int:
        """Number of questions with at least one answer in the vocabulary."""
        return sum(bool(scores) for scores in self._scores)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> QuestionItem:
        return QuestionItem(
            self._token_ids[index], self._rows[index], self._targets[index], self._scores[index]
        )


@dataclass(frozen=True)
class QuestionCollator:
    """Makes one batch of model inputs of question items: exactly what the model's forward takes, and labels.

    Attributes:
        regions: The table that the items' rows point into.
        pad_token_id: Id of the padding token.
        answers: Number of answers, C.
        target: Which form of labels to make.
        pad_to_multiple_of: The words' axis is padded to a multiple of this; masked padding changes no result.
        object_labels: What the table's objects are, where the model learns to predict it, else None.
    """

    regions: RegionTable
    pad_token_id: int
    answers: int
    target: TargetKind
    pad_to_multiple_of: int = 1
    object_labels: ObjectLabels | None = None

    def __call__(self, items: Sequence[QuestionItem]) -> dict[str, Any]:
        """Batch the items.

        Returns:
            input_ids, attention_mask, token_type_ids (B, W) int64; visual_feats, visual_pos,
            visual_attention_mask; labels (B,) int64 or (B, C) float32; with object labels also obj_labels, as
            LxmertForPreTraining takes them.
        """
        longest = max(len(item.token_ids) for item in items)
        words = math.ceil(longest / self.pad_to_multiple_of) * self.pad_to_multiple_of
        input_ids = torch.full((len(items), words), self.pad_token_id, dtype=torch.int64)
        attention_mask = torch.zeros_like(input_ids)
        for row, item in enumerate(items):
            input_ids[row, : len(item.token_ids)] = item.token_ids
            attention_mask[row, : len(item.token_ids)] = 1
        rows = torch.tensor([item.region_row for item in items])
        batch: dict[str, Any] = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": torch.zeros_like(input_ids),
            **self.regions.batch(rows),
            "labels": self._labels(items),
        }
        if self.object_labels is not None:
            batch["obj_labels"] = self.object_labels.batch(rows, batch["visual_feats"].shape[1])
        return batch

    def _labels(self, items: Sequence[QuestionItem]) -> Tensor:
        if self.target is TargetKind.CLASS:
            return torch.tensor([item.target for item in items])
        labels = torch.zeros(len(items), self.answers)
        for row, item in enumerate(items):
            for label, score in item.scores.items():
                labels[row, label] = score
        return labels


def _class_target(example: VqaExample, scores: dict[int, float], answers: AnswerVocabulary) -> int:
    """The most frequent answer where the vocabulary has it, else the best scored one, else ignored."""
    top = None if example.multiple_choice_answer is None else answers.find(example.multiple_choice_answer)
    if top is not None:
        return top
    return max(scores, key=lambda label: scores[label], default=IGNORED_LABEL)

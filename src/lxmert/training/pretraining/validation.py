"""The validation examples of pre-training, in batches that are always the same.

Shapes: B batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lxmert.data.pretraining_dataset import PretrainingDataset
from lxmert.training.validation_batches import validation_batches


@dataclass(frozen=True)
class ValidationData:
    """Sentences about images; always the draws of epoch 0, so always the same masks and pairs.

    Attributes:
        dataset: the sentences.
        collate: items to a batch of the model's inputs and targets.
        batch_size: sentences per batch.
        loader_processes: processes that make batches in advance; 0 makes them in the main process.
    """

    dataset: PretrainingDataset
    collate: Callable[[Sequence[Any]], dict[str, Any]]
    batch_size: int
    loader_processes: int = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def batches(self, rank: int = 0, ranks: int = 1) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        """This process's batches: the examples' indices in the data set (B,), and the batch."""
        return validation_batches(
            self.dataset,
            self.collate,
            self.batch_size,
            rank=rank,
            ranks=ranks,
            loader_processes=self.loader_processes,
        )

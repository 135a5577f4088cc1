"""Full batches for each of several processes, without counting any example twice.

Processes wait for one another in every update, so all need the same number of batches. If the examples of an
epoch do not suffice, Accelerate repeats some of them. Here fillers take their place: examples without a
label, whose objects are masked out, so that no loss counts them.

Shapes: B batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, Sampler

from lxmert.data.task_dataset import TaskDataset, TaskItem
from lxmert.training.sampling import ShuffledSampler

_UNLABELLED = -1
"""Means no label to every loss, whether labels are class ids or scores."""


class FilledItem(NamedTuple):
    """An item of a batch.

    Attributes:
        item: an example.
        is_filler: True if it must not count.
    """

    item: TaskItem
    is_filler: bool


class FilledSampler(Sampler[int]):
    """The order of a `ShuffledSampler` and then fillers, which have the indices that follow the examples'.

    Five examples in the order 3, 0, 4, 1, 2, in batches of 8, give 3, 0, 4, 1, 2, 7, 7, 7: index 5 + 2 is
    example 2 as a filler.

    Args:
        sampler: the order of indices.
        multiple: the number of indices becomes a multiple of this; 1 needs no fillers.
    """

    def __init__(self, sampler: ShuffledSampler, multiple: int) -> None:
        self._sampler = sampler
        self._fillers = -len(sampler) % multiple

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration shows."""
        self._sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._sampler) + self._fillers

    def __iter__(self) -> Iterator[int]:
        indices = list(self._sampler)
        # Fillers repeat the last example, because it is about as long as the others of its batch.
        return iter(indices + [len(indices) + filler for filler in indices[-1:] * self._fillers])


class FilledDataset(Dataset[FilledItem]):
    """Examples, and the same once more as fillers.

    Args:
        examples: the examples.
    """

    def __init__(self, examples: TaskDataset) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> FilledItem:
        repeats, example_index = divmod(index, len(self))
        return FilledItem(self._examples[example_index], is_filler=repeats > 0)


@dataclass(frozen=True)
class FilledCollator:
    """Batches items of a `FilledDataset`.

    Attributes:
        collate: makes a batch of examples, whose objects may be padded.
    """

    collate: Callable[[Sequence[TaskItem]], dict[str, Any]]

    def __call__(self, items: Sequence[FilledItem]) -> dict[str, Any]:
        """Batch the items; fillers have no label, (B,) or (B, C), and no visible object."""
        batch = self.collate([filled.item for filled in items])
        is_filler = torch.tensor([filled.is_filler for filled in items])  # (B,)
        if is_filler.any():
            for name, empty in (("labels", _UNLABELLED), ("visual_attention_mask", 0)):
                batch[name] = batch[name].clone()
                batch[name][is_filler] = empty
        return batch

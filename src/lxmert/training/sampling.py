"""The order of training examples: a pure function of seed and epoch, so that a resumed run agrees."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

# Batches sorted by length together. Large enough for little padding, small enough to stay well mixed.
_BATCHES_PER_GROUP = 50


class ShuffledSampler(Sampler[int]):
    """All examples once per epoch in random order, on request with like lengths side by side.

    Args:
        lengths: Length of each example.
        batch_size: Examples of one step over all processes.
        seed: Together with the epoch decides the order.
        group_by_length: True puts examples of similar length into one batch; the order of batches, and who
            meets whom, still changes from epoch to epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, group_by_length: bool) -> None:
        self._lengths = torch.tensor(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._group_by_length = group_by_length
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration shows."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        order = torch.randperm(len(self), generator=generator)
        if not self._group_by_length:
            return iter(order.tolist())
        group = self._batch_size * _BATCHES_PER_GROUP
        parts = [part[torch.argsort(self._lengths[part], stable=True)] for part in order.split(group)]
        # Only the very last batch may be short, and it must stay last.
        batches = list(torch.cat(parts).split(self._batch_size)) if parts else []
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        rest = batches[len(whole) :]
        mixed = [whole[n] for n in torch.randperm(len(whole), generator=generator).tolist()]
        return iter(torch.cat([*mixed, *rest]).tolist() if batches else [])


class DrawSampler(Sampler[int]):
    """The order of a `ShuffledSampler` as draw numbers, epoch · examples + index, in whole steps only.

    A draw number tells a data set not only which example is shown but also in which epoch, so that what is
    random about it can follow from the number alone. The examples that would not fill an epoch's last
    step are left to the next epochs, as in the authors' pre-training.

    Args:
        order: gives the indices.
        examples_per_step: examples of one update over all processes and batches.
    """

    def __init__(self, order: ShuffledSampler, examples_per_step: int) -> None:
        self._order = order
        self._kept = len(order) - len(order) % examples_per_step
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration shows."""
        self._epoch = epoch
        self._order.set_epoch(epoch)

    def __len__(self) -> int:
        return self._kept

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * len(self._order)
        return (first + index for index in islice(self._order, self._kept))


class TellEpoch(TrainerCallback):
    """Tells the sampler of a Trainer its epoch.

    The Trainer tells the batches that it reads. Where a run of several processes goes on in the middle of an
    epoch, these are what is left of the loader's, and Accelerate passes the epoch on to the loader's alone.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell it by the loader of whole epochs."""
        kwargs["train_dataloader"].set_epoch(int(state.epoch or 0))

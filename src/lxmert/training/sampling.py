"""The order of training examples: a pure function of seed and epoch, so that a resumed run agrees."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import TrainerCallback

# Batches sorted by length together. Large enough for little padding, small enough to stay well mixed.
_BATCHES_PER_GROUP = 50


class ShuffledSampler(Sampler[int]):
    """All examples once per epoch in random order, optionally grouped by length.

    Args:
        lengths: Length of each example.
        batch_size: Examples of one step over all processes.
        seed: Determines the order together with the epoch.
        group_by_length: True puts examples of similar length into one batch; the order of batches, and
            the examples in each, still change from epoch to epoch. Those of a last batch that is not full
            are drawn at random.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, group_by_length: bool) -> None:
        self._lengths = torch.tensor(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._group_by_length = group_by_length
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        order = torch.randperm(len(self), generator=generator)
        if not self._group_by_length:
            return iter(order.tolist())
        # Set apart before sorting: the rest of sorted examples would be the longest ones in each epoch.
        full = len(self) - len(self) % self._batch_size
        groups = order[:full].split(self._batch_size * _BATCHES_PER_GROUP)
        batches = torch.cat([self._sort(group) for group in groups]).reshape(-1, self._batch_size)
        batches = batches[torch.randperm(len(batches), generator=generator)]
        return iter([*batches.flatten().tolist(), *self._sort(order[full:]).tolist()])

    def _sort(self, indices: Tensor) -> Tensor:
        """The indices by the lengths of their examples."""
        return indices[torch.argsort(self._lengths[indices], stable=True)]


class DrawSampler(Sampler[int]):
    """The order of a `ShuffledSampler` as draw numbers, epoch · examples + index, in whole steps only.

    A draw number determines not only an example but also its epoch, so that all randomness in the example
    can follow from the number alone. The examples that would not fill an epoch's last step are left to the
    next epochs, as in the authors' pre-training.

    Args:
        sampler: the order of indices.
        examples_per_step: examples of one update over all processes and batches.
    """

    def __init__(self, sampler: ShuffledSampler, examples_per_step: int) -> None:
        self._sampler = sampler
        self._length = len(sampler) - len(sampler) % examples_per_step
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch = epoch
        self._sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * len(self._sampler)
        return (first + index for index in islice(self._sampler, self._length))


class SetEpochCallback(TrainerCallback):
    """Passes the epoch to the sampler of a Trainer.

    The Trainer sets the epoch of the loader that it iterates. When several processes resume in the middle of
    an epoch, that loader only wraps the rest of the original one, to which Accelerate passes no epoch.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch of the original loader."""
        kwargs["train_dataloader"].set_epoch(int(state.epoch or 0))

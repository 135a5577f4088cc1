"""Batches for validation: always the same, and divided among processes.

Shapes: B batch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader


def validation_batches(
    dataset: Any,
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    batch_size: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    loader_processes: int = 0,
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """One process's share of a data set in batches of similar length, which need little padding.

    Args:
        dataset: map-style, with a sequence `lengths` of its examples' lengths.
        collate: items to a batch.
        batch_size: examples per batch, B.
        rank: the process, from 0.
        ranks: processes.
        loader_processes: processes that make batches in advance; 0 makes them in this one.

    Yields:
        the examples' indices in the data set, (B,) int64, and the batch. The last batch of the whole data
            set may be smaller.
    """
    order = torch.argsort(torch.tensor(dataset.lengths), stable=True)
    parts = order.split(batch_size)[rank::ranks]
    loader = DataLoader(
        dataset,
        batch_sampler=[part.tolist() for part in parts],
        collate_fn=collate,
        num_workers=loader_processes,
        # Its own generator, so that validation does not affect the random numbers of training.
        generator=torch.Generator().manual_seed(0),
    )
    yield from zip(parts, loader, strict=True)

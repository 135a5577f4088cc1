"""Encoded words or objects of different lengths, padded to a batch.

Shapes: B sequences, L states of one or of the longest, H hidden.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def pad_states(parts: Sequence[Tensor], counts: Tensor) -> tuple[Tensor, Tensor | None]:
    """Pad states with zeros to the length of the longest.

    Args:
        parts: (L, H) each, on one device.
        counts: (B,) int64, number of visible states of each; the others are masked.

    Returns:
        (B, L, H), and the mask (B, L) int64, 1 for a visible state; None if all are visible.
    """
    longest = max(map(len, parts))
    if bool((counts == longest).all()):
        return torch.stack(list(parts)), None
    mask = counts[:, None] > torch.arange(longest)  # (B, L)
    return pad_sequence(list(parts), batch_first=True), mask.long().to(parts[0].device)

"""Encoded words or objects of several lengths, side by side.

Shapes: B of them, L states of one or of the longest, H hidden.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def padded_states(parts: Sequence[Tensor], counts: Tensor) -> tuple[Tensor, Tensor | None]:
    """Fill up states with zeros to the length of the longest.

    Args:
        parts: (L, H) each, on one device.
        counts: (B,) int64, how many states of each count; the others are hidden.

    Returns:
        (B, L, H), and the mask (B, L) int64, 1 for a state that counts; None where all do.
    """
    longest = max(map(len, parts))
    if bool((counts == longest).all()):
        return torch.stack(list(parts)), None
    mask = counts[:, None] > torch.arange(longest)  # (B, L)
    return pad_sequence(list(parts), batch_first=True), mask.long().to(parts[0].device)

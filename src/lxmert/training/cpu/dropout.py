"""Dropout from 16 random bits a number: torch's own spends more time on a CPU than the products beside it.

The bits come from torch's generator, so that a seed, and a checkpoint of it, decide them.
"""

import torch
from torch import Tensor

_STEPS = 2**16
_LOWEST = -(2**15)


class Dropout:
    """Which numbers stay, and by how much they grow.

    Args:
        probability: of a number being dropped, 0..1; taken to the nearest 1/65,536.
    """

    def __init__(self, probability: float) -> None:
        self._dropped = round(probability * _STEPS)
        self.growth = _STEPS / (_STEPS - self._dropped) if self._dropped < _STEPS else 0.0

    def kept(self, like: Tensor) -> Tensor | None:
        """1 where a number stays and 0 where it is dropped, in shape and dtype of `like`; None for all 1."""
        if not self._dropped:
            return None
        count = like.numel()
        # torch draws 64 bits as fast as fewer.
        bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = torch.empty(like.shape, dtype=like.dtype)
        return torch.ge(bits[:count].view(like.shape), _LOWEST + self._dropped, out=kept)

    def __call__(self, values: Tensor) -> Tensor:
        """Values of any shape, some dropped and the others grown."""
        kept = self.kept(values)
        return values if kept is None else values * kept * self.growth

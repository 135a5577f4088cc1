"""Dropout with 16 random bits per number: on a CPU torch's own takes more time than the matrix products.

The bits come from torch's generator, so that its seed or restored state determines them.
"""

import torch
from torch import Tensor

_STEPS = 2**16
_INT16_MIN = -(2**15)


class Dropout:
    """Drops numbers at random and scales the others; in two steps where scaling later is less work.

    Args:
        probability: of a number being dropped, 0..1; rounded to the nearest 1/65,536.

    Attributes:
        scale: the factor of the numbers that stay.
    """

    def __init__(self, probability: float) -> None:
        self._drop_threshold = round(probability * _STEPS)
        self.scale = _STEPS / (_STEPS - self._drop_threshold) if self._drop_threshold < _STEPS else 0.0

    def keep_mask(self, like: Tensor) -> Tensor | None:
        """A mask like `like` in shape and dtype, 1 for kept and 0 for dropped numbers; None for all 1."""
        if not self._drop_threshold:
            return None
        count = like.numel()
        # torch draws 64 bits as fast as fewer bits.
        bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        mask = torch.empty(like.shape, dtype=like.dtype)
        return torch.ge(bits[:count].view(like.shape), _INT16_MIN + self._drop_threshold, out=mask)

    def drop(self, values: Tensor) -> Tensor:
        """Drop numbers of values of any shape, without scaling the others."""
        mask = self.keep_mask(values)
        return values if mask is None else values * mask

    def rescale(self, values: Tensor) -> Tensor:
        """Scale values after `drop`, or the result of linear steps on them."""
        return values * self.scale if self._drop_threshold else values

    def __call__(self, values: Tensor) -> Tensor:
        """Apply dropout to values of any shape."""
        return self.rescale(self.drop(values))

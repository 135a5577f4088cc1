"""Clipping of gradients at the speed of memory: torch's norm of a tensor reads at half of it on a CPU."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients down to a norm, as `torch.nn.utils.clip_grad_norm_` does.

    Args:
        parameters: those without a gradient are left out.
        max_norm: above 0.

    Returns:
        the norm of all gradients before, a float32 scalar; 0 without any.
    """
    gradients = [one.grad for one in parameters if one.grad is not None]
    if not gradients:
        return torch.zeros(())
    flat = [one.reshape(-1).float() for one in gradients]
    norm = torch.stack([torch.dot(one, one) for one in flat]).sum().sqrt()
    # As there: a norm of 0 divides nothing by 0.
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for one in gradients:
        one.mul_(factor)
    return norm

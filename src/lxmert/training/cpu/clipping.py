"""Clipping of gradients at memory speed: torch's norm of a tensor reads at half of it on a CPU."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients down to a norm, as `torch.nn.utils.clip_grad_norm_` does.

    Args:
        parameters: those without a gradient are ignored.
        max_norm: above 0.

    Returns:
        the norm of all gradients before clipping, a float32 scalar; 0 without gradients.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    flattened = [gradient.reshape(-1).float() for gradient in gradients]
    norm = torch.stack([torch.dot(values, values) for values in flattened]).sum().sqrt()
    # As in torch: avoids division by a norm of 0.
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm

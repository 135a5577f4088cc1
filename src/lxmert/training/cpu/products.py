"""Linear layers as training on a CPU runs them: one product for layers of the same input, each cast once.

Shapes: N rows, I inputs, U outputs of all layers together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ROWS_MULTIPLE = 32
"""Gradients of weights are sums over rows, of which a matrix unit takes 32 in bfloat16 at a time."""

# oneDNN's bfloat16 products of so many rows and so few columns run on one thread of two (torch 2.13); pieces
# of a product do not.
_SLOW_ROWS = range(900, 1900)
_SLOW_COLUMNS = 1024
_PIECE_ROWS = 384


def linear(values: Tensor, *layers: nn.Linear) -> Tensor:
    """What linear layers make of the same rows, side by side.

    Args:
        values: (N, I), in the dtype to compute in.
        *layers: of I inputs each, with bias; their weights are cast where `values` have another dtype.

    Returns:
        (N, U), in the dtype of `values`.
    """
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    result: Tensor = _Linear.apply(len(layers), values, *weights, *biases)
    return result


class _Linear(torch.autograd.Function):
    """Forward and backward of `linear`, with gradients of weights in the dtype of the weights."""

    @staticmethod
    def forward(ctx: Any, count: int, values: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:count], parameters[count:]
        weight, bias = _joined(weights, values.dtype), _joined(biases, values.dtype)  # (U, I), (U,)
        ctx.save_for_backward(values, weight)
        ctx.sizes = [len(bias) for bias in biases]
        ctx.dtype = weights[0].dtype
        return product(values, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        values, weight = ctx.saved_tensors
        of_values = product(gradient, weight) if ctx.needs_input_grad[1] else None
        of_weight = gradient.t().mm(values).split(ctx.sizes)
        of_bias = gradient.sum(dim=0).split(ctx.sizes)
        return None, of_values, *(part.to(ctx.dtype) for part in (*of_weight, *of_bias))


def _joined(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Tensors one below the other, in a dtype, by one pass over each; a single one of this dtype itself."""
    if len(parts) == 1:
        return parts[0].detach().to(dtype)
    whole = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=dtype)
    for place, part in zip(whole.split([len(part) for part in parts]), parts, strict=True):
        place.copy_(part)
    return whole


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """The matrix left @ right + bias, in pieces where the whole would leave a thread idle."""
    rows, columns = left.shape[0], right.shape[1]
    if left.dtype != torch.bfloat16 or rows not in _SLOW_ROWS or columns > _SLOW_COLUMNS:
        return left.mm(right) if bias is None else torch.addmm(bias, left, right)
    result = left.new_empty(rows, columns)
    for place, piece in zip(result.split(_PIECE_ROWS), left.split(_PIECE_ROWS), strict=True):
        if bias is None:
            torch.mm(piece, right, out=place)
        else:
            torch.addmm(bias, piece, right, out=place)
    return result

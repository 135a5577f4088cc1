"""Linear layers for training on a CPU: one product for all layers of the same input, each cast once.

Shapes: N rows, I inputs, U outputs of all layers together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu

from lxmert.cpu import has_amx, onednn_linear, prefers_onednn

ROWS_MULTIPLE = 32
"""Gradients of weights are sums over rows, of which a matrix unit processes 32 in bfloat16 at a time."""

# With AMX, oneDNN's bfloat16 products with numbers of rows and columns in these ranges use one thread of two
# (torch 2.13); pieces of such a product use both.
_SLOW_ROWS = range(900, 1900)
_SLOW_COLUMNS = 1024
_PIECE_ROWS = 384


def linear(values: Tensor, *layers: nn.Linear, after_gelu: bool = False) -> Tensor:
    """Apply linear layers to the same rows and concatenate their outputs.

    Args:
        values: (N, I), in the dtype to compute in.
        *layers: of I inputs each, with bias; their weights are cast if `values` have another dtype.
        after_gelu: the layers' input is GELU(values), recomputed for the gradients rather than kept, which
            saves the memory of the largest states for little work.

    Returns:
        (N, U), in the dtype of `values`.
    """
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    result: Tensor = _Linear.apply(len(layers), after_gelu, values, *weights, *biases)
    return result


class _Linear(torch.autograd.Function):
    """Forward and backward of `linear`, with gradients of weights in the dtype of the weights."""

    @staticmethod
    def forward(ctx: Any, count: int, after_gelu: bool, values: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[:count], parameters[count:]
        weight, bias = _concatenate(weights, values.dtype), _concatenate(biases, values.dtype)  # (U, I), (U,)
        ctx.save_for_backward(values, weight)
        ctx.sizes = [len(bias) for bias in biases]
        ctx.dtype = weights[0].dtype
        ctx.after_gelu = after_gelu
        return matmul(gelu(values) if after_gelu else values, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        values, weight = ctx.saved_tensors
        values_gradient = matmul(gradient, weight) if ctx.needs_input_grad[2] else None
        if ctx.after_gelu and values_gradient is not None:
            values_gradient = torch.ops.aten.gelu_backward(values_gradient, values)
        inputs = gelu(values) if ctx.after_gelu else values
        weight_parts = _matmul_in_one_piece(gradient.t(), inputs).split(ctx.sizes)
        bias_parts = gradient.sum(dim=0).split(ctx.sizes)
        return None, None, values_gradient, *(part.to(ctx.dtype) for part in (*weight_parts, *bias_parts))


def _concatenate(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Concatenate tensors in a dtype, in one pass over each; a single one of this dtype is not copied."""
    if len(parts) == 1:
        return parts[0].detach().to(dtype)
    concatenated = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=dtype)
    for target, part in zip(concatenated.split([len(part) for part in parts]), parts, strict=True):
        target.copy_(part)
    return concatenated


def matmul(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute left @ right + bias in torch's fastest way on this processor.

    Args:
        left: (N, I), float32, float64 or bfloat16.
        right: (I, U).
        bias: (U,), or none.

    Returns:
        (N, U).
    """
    rows, columns = left.shape[0], right.shape[1]
    is_slow_shape = left.dtype == torch.bfloat16 and rows in _SLOW_ROWS and columns <= _SLOW_COLUMNS
    if not (is_slow_shape and has_amx()):
        return _matmul_in_one_piece(left, right, bias)
    result = left.new_empty(rows, columns)
    for target, piece in zip(result.split(_PIECE_ROWS), left.split(_PIECE_ROWS), strict=True):
        if bias is None:
            torch.mm(piece, right, out=target)
        else:
            torch.addmm(bias, piece, right, out=target)
    return result


def _matmul_in_one_piece(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `matmul`, never in pieces."""
    if left.dtype == torch.float32 and prefers_onednn():
        return onednn_linear(left, right.t(), bias)
    return left.mm(right) if bias is None else torch.addmm(bias, left, right)

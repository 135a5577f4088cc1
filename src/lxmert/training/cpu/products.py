"""Linear layers as training on a CPU runs them: one product for layers of the same input, each cast once.

Shapes: N rows, I inputs, U outputs of all layers together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu

from lxmert.cpu import has_amx, prefers_onednn

ROWS_MULTIPLE = 32
"""Gradients of weights are sums over rows, of which a matrix unit takes 32 in bfloat16 at a time."""

# With AMX, oneDNN's bfloat16 products of so many rows and so few columns run on one thread of two
# (torch 2.13); pieces of a product do not.
_SLOW_ROWS = range(900, 1900)
_SLOW_COLUMNS = 1024
_PIECE_ROWS = 384


def linear(values: Tensor, *layers: nn.Linear, after_gelu: bool = False) -> Tensor:
    """What linear layers make of the same rows, side by side.

    Args:
        values: (N, I), in the dtype to compute in.
        *layers: of I inputs each, with bias; their weights are cast where `values` have another dtype.
        after_gelu: the layers see GELU(values), which is computed again for the gradients rather than kept:
            memory of the largest states for little work.

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
        weight, bias = _joined(weights, values.dtype), _joined(biases, values.dtype)  # (U, I), (U,)
        ctx.save_for_backward(values, weight)
        ctx.sizes = [len(bias) for bias in biases]
        ctx.dtype = weights[0].dtype
        ctx.after_gelu = after_gelu
        return product(gelu(values) if after_gelu else values, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        values, weight = ctx.saved_tensors
        of_values = product(gradient, weight) if ctx.needs_input_grad[2] else None
        if ctx.after_gelu and of_values is not None:
            of_values = torch.ops.aten.gelu_backward(of_values, values)
        inputs = gelu(values) if ctx.after_gelu else values
        of_weight = gradient.t().mm(inputs).split(ctx.sizes)
        of_bias = gradient.sum(dim=0).split(ctx.sizes)
        return None, None, of_values, *(part.to(ctx.dtype) for part in (*of_weight, *of_bias))


def _joined(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Tensors one below the other, in a dtype, by one pass over each; a single one of this dtype itself."""
    if len(parts) == 1:
        return parts[0].detach().to(dtype)
    whole = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=dtype)
    for place, part in zip(whole.split([len(part) for part in parts]), parts, strict=True):
        place.copy_(part)
    return whole


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """The matrix left @ right + bias, by the fastest way that torch has to it on this processor.

    Args:
        left: (N, I), float32, float64 or bfloat16.
        right: (I, U).
        bias: (U,), or none.

    Returns:
        (N, U).
    """
    if left.dtype == torch.float32 and prefers_onednn():
        return _onednn_product(left, right, bias)
    rows, columns = left.shape[0], right.shape[1]
    is_slow = left.dtype == torch.bfloat16 and rows in _SLOW_ROWS and columns <= _SLOW_COLUMNS
    if not (is_slow and has_amx()):
        return left.mm(right) if bias is None else torch.addmm(bias, left, right)
    result = left.new_empty(rows, columns)
    for place, piece in zip(result.split(_PIECE_ROWS), left.split(_PIECE_ROWS), strict=True):
        if bias is None:
            torch.mm(piece, right, out=place)
        else:
            torch.addmm(bias, piece, right, out=place)
    return result


def _onednn_product(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """As `product`, in float32; the operation that torch's compiler calls for a linear layer."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")
    return made

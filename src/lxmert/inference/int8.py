"""Linear layers in 8 bits on a CPU: half the memory traffic of bfloat16, and twice the rate of products.

Weights are rounded once, with a scale for each output. Inputs are rounded on the fly, with a scale for each
row (a word or an object), so that a row's result does not depend on the rest of the batch. Products are
accumulated exactly in 32 bits; everything between them (attention, residual sums, normalisation) keeps the
dtype of the states.

This is meant to be compiled: run eagerly, the rounding costs more than the products gain.
Source: oneDNN's int8 products in `torch`, `torch.ops.onednn.qlinear_pointwise`.

Shapes: N rows, I inputs, U outputs of a layer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from lxmert.cpu import has_amx, has_int8
from lxmert.errors import ConfigurationError
from lxmert.inference.fused_products import is_plain
from lxmert.model.attention import LxmertAttention
from lxmert.model.encoder import LxmertEncoder, LxmertIntermediate

_INT8_MAX = 127
"""Of the 8-bit integers; -128 is not used, so that the range is symmetric."""

UINT8_ZERO_POINT = 128
"""The zero point of unsigned 8-bit integers."""

_MIN_ROW_MAXIMUM = 1e-12
"""Lower bound of a row's largest value, so that rows of zeros have a scale too."""

_GELU_CLAMP = 4.0
"""From this magnitude on, Φ is taken as 0 or 1."""

_GELU_COEFFICIENTS = (
    0.39787002, -0.064554118, 0.0087635731, -0.00081216574, 4.7761862e-05, -1.5887344e-06, 2.2586548e-08
)  # fmt: skip
"""Coefficients, in powers of x², of (Φ(x) - 1/2) / x for |x| up to `_GELU_CLAMP`, fitted to minimise the
error of x Φ(x), which is at most 0.0002."""

_GELU_MIN_MAGNITUDE = 0.17
"""GELU is nowhere below -0.17."""


def quantize(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Round the linear layers of a model's three encoders to 8 bits, in place.

    The embeddings, the projection of visual features, the pooler and the heads keep their layers.

    Args:
        model: with float weights, preferably float32, on a CPU.
        dtype: of the states and of all other weights.

    Raises:
        ConfigurationError: a linear layer that is not plain, such as an adapter; and see `check_int8`.
    """
    check_int8()
    encoder: LxmertEncoder = model.lxmert.encoder
    _check_plain(encoder)
    linear = [
        (f"{stack}.{name}", part)
        for stack in ("layer", "r_layers", "x_layers")
        for name, part in getattr(encoder, stack).named_modules()
        if isinstance(part, nn.Linear)
    ]
    # From the original weights, before the model is converted to `dtype`; scales stay float32.
    layers = {name: Int8Linear(part, dtype) for name, part in linear}
    model.to(dtype)
    for name, layer in layers.items():
        encoder.set_submodule(name, layer)
    for name, part in list(encoder.named_modules()):
        if isinstance(part, LxmertAttention):
            part.fused_projection = fused_int8_linear
        elif isinstance(part, LxmertIntermediate) and isinstance(part.intermediate_act_fn, GELUActivation):
            encoder.set_submodule(name, _Int8Intermediate(layers[f"{name}.dense"]))
    model.save_pretrained = _reject_saving


def _check_plain(encoder: LxmertEncoder) -> None:
    """Raise a ConfigurationError for a layer that is not determined by its weights."""
    for name, part in encoder.named_modules():
        for inner in ("query", "key", "value", "dense"):
            layer = getattr(part, inner, None)
            if isinstance(layer, nn.Module) and not is_plain(layer):
                raise ConfigurationError(
                    f"int8 needs plain linear layers, but encoder.{name}.{inner} is a "
                    f"{type(layer).__name__}, or has hooks: merge adapters into the weights first, or use "
                    "bfloat16"
                )


def _reject_saving(*_: Any, **__: Any) -> NoReturn:
    """Replace `save_pretrained`: readers of model folders would mistake the rounded integers for weights."""
    raise ConfigurationError(
        "a model in 8 bits cannot be saved, because its weights are rounded; save it before it is "
        "rounded, or load it again"
    )


def check_int8() -> None:
    """Raise a ConfigurationError if this build of torch, or this processor, lacks 8-bit products."""
    if not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        raise ConfigurationError(
            "int8 needs the int8 matrix products of oneDNN, which this build of torch lacks"
        )
    if not has_int8():
        raise ConfigurationError(
            "int8 needs a processor with AMX or AVX512-VNNI; on others, its sums overflow or are slow"
        )


def is_int8(model: PreTrainedModel) -> bool:
    """Whether a model was changed by `quantize`."""
    return any(isinstance(part, Int8Linear) for part in model.modules())


class QuantizedRows(NamedTuple):
    """Rows rounded to 8 bits, which represent `(values - zero_point) * scale`.

    Attributes:
        values: (…, N, I) int8, or uint8.
        scale: (…, N, 1) float32.
    """

    values: Tensor
    scale: Tensor

    @property
    def zero_point(self) -> int:
        """The zero point of `values`."""
        return UINT8_ZERO_POINT if self.values.dtype == torch.uint8 else 0


def quantize_rows(states: Tensor, dtype: torch.dtype = torch.int8) -> QuantizedRows:
    """Round states (…, N, I) of any float dtype to int8 or uint8, scaling each row by its largest value."""
    precise = states.float()
    return _round_rows(precise, precise.abs().amax(dim=-1, keepdim=True).clamp(min=_MIN_ROW_MAXIMUM), dtype)


def _round_rows(states: Tensor, largest: Tensor, dtype: torch.dtype) -> QuantizedRows:
    """Round states (…, N, I) by the largest value of each row, (…, N, 1), both float32."""
    scale = largest / _INT8_MAX
    steps = (states * (1 / scale)).round()
    if dtype == torch.uint8:
        steps = steps + UINT8_ZERO_POINT
    return QuantizedRows(steps.to(dtype), scale)


def _row_dtype() -> torch.dtype:
    """Return the dtype of rows that is fast with signed weights: without AMX, oneDNN's int8 rows are slow."""
    return torch.int8 if has_amx() else torch.uint8


class Int8Linear(nn.Module):
    """A linear layer with its weights in 8 bits.

    Args:
        layer: the layer to replace, with a bias.
        dtype: of the outputs.
    """

    weight: Tensor  # (U, I) int8
    scale: Tensor  # (U,) float32
    bias: Tensor  # (U,) float32

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        rows = quantize_rows(layer.weight.detach())
        self.dtype = dtype
        self.register_buffer("weight", rows.values)
        self.register_buffer("scale", rows.scale.squeeze(-1))
        self.register_buffer("bias", layer.bias.detach().float())

    def forward(self, states: Tensor | QuantizedRows) -> Tensor:
        """(…, N, I) -> (…, N, U)."""
        return fused_int8_linear((self,), states)


def fused_int8_linear(layers: Sequence[Int8Linear], states: Tensor | QuantizedRows) -> Tensor:
    """Apply layers of the same I inputs to (…, N, I) by one product, outputs concatenated to (…, N, U)."""
    return _float_product(layers, states).to(layers[0].dtype)


def _float_product(layers: Sequence[Int8Linear], states: Tensor | QuantizedRows) -> Tensor:
    """Compute `fused_int8_linear` in float32."""
    rows = states if isinstance(states, QuantizedRows) else quantize_rows(states, _row_dtype())
    weight, scale, bias = (
        torch.cat([getattr(layer, name) for layer in layers]) if len(layers) > 1 else getattr(layers[0], name)
        for name in ("weight", "scale", "bias")
    )
    # The rows' scales differ, so the operator gets none (1.0).
    summed = torch.ops.onednn.qlinear_pointwise(
        rows.values.flatten(0, -2), 1.0, rows.zero_point,
        torch.ops.onednn.qlinear_prepack(weight, None), scale, torch.zeros_like(scale, dtype=torch.int32),
        None, 1.0, 0, layers[0].dtype, "none", [], "",
    )  # fmt: skip
    product: Tensor = summed.float().unflatten(0, rows.values.shape[:-1]) * rows.scale + bias
    return product


class _Int8Intermediate(nn.Module):
    """First half of the feed-forward block, whose result is rounded right away for the second half."""

    def __init__(self, dense: Int8Linear) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, states: Tensor) -> QuantizedRows:
        """(…, N, I) -> (…, N, U)."""
        expanded = _float_product((self.dense,), states)
        # The largest magnitude is GELU of the largest value, or GELU's own minimum of -0.17: two passes over
        # a row, with GELU computed in only one of them.
        highest = approximate_gelu(expanded.amax(dim=-1, keepdim=True))
        return _round_rows(approximate_gelu(expanded), highest.clamp(min=_GELU_MIN_MAGNITUDE), _row_dtype())


def approximate_gelu(values: Tensor) -> Tensor:
    """Compute GELU within 0.0002, a tenth of the error of 8-bit rounding, in half the time of the exact one.

    Args:
        values: of any shape, float32.
    """
    near = values.clamp(-_GELU_CLAMP, _GELU_CLAMP)
    square = near * near
    slope = torch.full_like(square, _GELU_COEFFICIENTS[-1])
    for term in _GELU_COEFFICIENTS[-2::-1]:
        slope = slope * square + term
    return values * (slope * near + 0.5)


def _fake_prepack(weight: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """Stand in for `onednn.qlinear_prepack` in tracing."""
    return torch.empty_like(weight.t())


_PREPACK_OP = "onednn::qlinear_prepack"
if hasattr(torch.ops.onednn, "qlinear_prepack") and not torch._C._dispatch_has_kernel_for_dispatch_key(
    _PREPACK_OP, "Meta"
):
    torch.library.register_fake(_PREPACK_OP, _fake_prepack)  # torch 2.13 has none of its own.

"""The processor's instruction sets, and oneDNN's float32 product, which is the fastest on some processors.

Source: `torch.cpu`, which queries the processor; what the installed torch does not report counts as absent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def has_amx() -> bool:
    """Whether there are matrix units for bfloat16 and signed 8-bit integers (Intel Xeon, 2023 and later)."""
    return _has("amx_tile")


def has_bfloat16() -> bool:
    """Whether bfloat16 has units of its own: AMX, or AVX-512's at twice float32's rate (AMD Zen 4, 2022)."""
    return has_amx() or _has("avx512_bf16")


def has_int8() -> bool:
    """Whether products of 8-bit integers are accumulated in 32 bits: by AMX, or AVX-512's VNNI.

    Older units add pairs in 16 bits first, which overflow silently.
    """
    return has_amx() or _has("vnni")


def prefers_onednn() -> bool:
    """Whether float32 products of oneDNN are faster than MKL's, torch's default: on AMD's processors.

    There MKL does not use AVX-512, which has twice AVX2's rate since Zen 5 (2024). Known if torch reports the
    vendor (2.13 does); else False.
    """
    is_amd = str(_capabilities().get("cpu_name", "")).startswith("AMD")
    return is_amd and torch.backends.mkldnn.is_available()


def onednn_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `torch.nn.functional.linear`, by the operation of oneDNN that torch's compiler uses; no gradients.

    Args:
        input: (..., I) on a CPU, float32 or bfloat16; I is not 0.
        weight: (U, I) in the same dtype.
        bias: (U,) in the same dtype, or none.

    Returns:
        (..., U).
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return result


@contextmanager
def fast_linear_layers(model: nn.Module) -> Iterator[None]:
    """Meanwhile, compute a model's linear layers by the fastest library, except where gradients are recorded.

    `torch.nn.MultiheadAttention` gains nothing: it computes its products out of sight.

    Args:
        model: one with weights that is not compiled. Only float32 on a CPU can gain.
    """
    weight = next(model.parameters())
    with _OnednnLinearMode() if _is_plain_float32(weight) and prefers_onednn() else nullcontext():
        yield


class _OnednnLinearMode(TorchFunctionMode):
    """Replaces `torch.nn.functional.linear` by oneDNN's product."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.nn.functional.linear and _is_supported_by_onednn(*args, **(kwargs or {})):
            func = onednn_linear
        return func(*args, **(kwargs or {}))


def _is_supported_by_onednn(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether `onednn_linear` computes a product as torch does; it converts and broadcasts nothing."""
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    operands = (input, weight) if bias is None else (input, weight, bias)
    if not all(
        type(operand) in (Tensor, nn.Parameter) and _is_plain_float32(operand) for operand in operands
    ):
        return False
    has_valid_shapes = input.ndim > 0 and weight.ndim == 2 and input.shape[-1] == weight.shape[1] > 0
    return has_valid_shapes and (bias is None or bias.shape == weight.shape[:1])


def _is_plain_float32(values: Tensor) -> bool:
    """Whether a tensor is float32, on a CPU, and neither sparse nor in a layout of a library's own."""
    return values.dtype == torch.float32 and values.device.type == "cpu" and values.layout == torch.strided


def describe_capabilities() -> str:
    """Describe what compiled code may depend on in the processor, as far as torch reports it."""
    known = {"vectors": torch.backends.cpu.get_cpu_capability(), "amx": has_amx()}
    known |= {name: value for name, value in _capabilities().items() if isinstance(value, bool)}
    return str(sorted(known.items()))


def _capabilities() -> Mapping[str, Any]:
    """Units by name, cache sizes and the processor's name; empty with an older torch."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def _has(units: str) -> bool:
    return bool(getattr(torch.cpu, f"_is_{units}_supported", lambda: False)())

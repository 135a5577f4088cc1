"""Instruction sets of the processor: they decide which dtype and which library's matrix products are fastest.

Source: `torch.cpu`, which queries the processor; what the installed torch does not report counts as absent.
"""

from collections.abc import Mapping
from typing import Any

import torch


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

    Known if torch reports the vendor (2.13 does); else False.
    """
    return str(_capabilities().get("cpu_name", "")).startswith("AMD")


def facts() -> str:
    """Describe what compiled code may depend on in the processor, as far as torch reports it."""
    known = {"vectors": torch.backends.cpu.get_cpu_capability(), "amx": has_amx()}
    known |= {name: value for name, value in _capabilities().items() if isinstance(value, bool)}
    return str(sorted(known.items()))


def _capabilities() -> Mapping[str, Any]:
    """Units by name, cache sizes and the processor's name; empty with an older torch."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def _has(units: str) -> bool:
    return bool(getattr(torch.cpu, f"_is_{units}_supported", lambda: False)())

"""Which instruction sets a processor has: they decide which dtype and whose matrix products are fastest.

Reported by `torch.cpu`, which asks the processor itself; what a torch does not report counts as absent.
"""

from collections.abc import Mapping
from typing import Any

import torch


def has_amx() -> bool:
    """Matrix units (Intel, Xeon of 2023 and later), for bfloat16 and for signed 8-bit numbers."""
    return _has("amx_tile")


def has_bfloat16() -> bool:
    """Units for bfloat16: AMX, or AVX-512's (AMD, Zen 4 of 2022 and later), of twice the rate of float32."""
    return has_amx() or _has("avx512_bf16")


def has_int8() -> bool:
    """Units that sum products of 8-bit numbers in 32 bits: AMX, or AVX-512's VNNI.

    Older ones sum pairs in 16 bits first, which overflow unnoticed.
    """
    return has_amx() or _has("vnni")


def prefers_onednn() -> bool:
    """Whether float32 products of oneDNN are faster than MKL's, which torch takes: on AMD's processors.

    Known where torch reports the vendor (2.13); False elsewhere.
    """
    return str(_capabilities().get("cpu_name", "")).startswith("AMD")


def facts() -> str:
    """All about the processor that machine code made here may depend on, as far as torch reports it."""
    known = {"vectors": torch.backends.cpu.get_cpu_capability(), "amx": has_amx()}
    known |= {name: value for name, value in _capabilities().items() if isinstance(value, bool)}
    return str(sorted(known.items()))


def _capabilities() -> Mapping[str, Any]:
    """Units by name, sizes of caches, and the processor's name; nothing with an older torch."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def _has(units: str) -> bool:
    return bool(getattr(torch.cpu, f"_is_{units}_supported", lambda: False)())

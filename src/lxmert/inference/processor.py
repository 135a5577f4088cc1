"""What a processor has units for, which decides in what numbers answers are computed fastest.

Told by `torch.cpu`, which asks the processor itself.
"""

import torch


def has_amx() -> bool:
    """Matrix units (Intel, Xeon of 2023 and later), for bfloat16 and for signed 8-bit numbers."""
    return bool(torch.cpu._is_amx_tile_supported())


def has_bfloat16() -> bool:
    """Units for bfloat16: AMX, or AVX-512's (AMD, Zen 4 of 2022 and later), of twice the rate of float32."""
    return has_amx() or bool(torch.cpu._is_avx512_bf16_supported())


def has_int8() -> bool:
    """Units that sum products of 8-bit numbers in 32 bits: AMX, or AVX-512's VNNI.

    Older ones sum pairs in 16 bits first, which overflow unnoticed.
    """
    return has_amx() or bool(torch.cpu._is_vnni_supported())


def facts() -> str:
    """All that machine code made here may rest on."""
    known = (torch.backends.cpu.get_cpu_capability(), has_amx(), has_bfloat16(), has_int8())
    return " ".join(map(str, known))

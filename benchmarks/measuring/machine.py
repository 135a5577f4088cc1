"""Description of the machine and software on which figures were measured, without host names or paths."""

import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "numpy", "onnxruntime")

# Processor flags of the units that compute matrix products in 16 and 8 bits.
_UNITS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


def machine_info(device: str = "cpu") -> dict[str, Any]:
    """Return processor, threads, memory in GiB, versions and date."""
    found: dict[str, Any] = {
        "processor": processor_name(),
        "units": [unit for unit in _UNITS if unit in _processor_flags()],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["gpu_memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
    return found


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor_name() -> str:
    """Return the processor's name, with its family and model, since some names have no number."""
    name = _reported("model name") or platform.processor() or platform.machine()
    family, model = _reported("cpu family"), _reported("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def _processor_flags() -> set[str]:
    return set(_reported("flags").split())


def _reported(entry: str) -> str:
    """Return an entry about the first processor, or nothing where Linux does not report it."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    match = re.search(rf"^{entry}[ \t]*:[ \t]*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else ""

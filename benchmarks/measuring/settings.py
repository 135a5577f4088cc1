"""The settings in which our models and the peer's are measured, by their names in the results."""

from collections.abc import Mapping
from typing import Any

import torch

from lxmert.inference.fast_model import FastModel, fast_dtype
from lxmert.weights.dtypes import dtype_name
from measuring.models import copy_in_dtype

PEERS = {"float32": "transformers, float32 (its default)", "bfloat16": "transformers, bfloat16"}
OURS: Mapping[str, Mapping[str, Any]] = {
    "ours, float32": {"dtype": "float32"},
    "ours, float32, compiled": {"dtype": "float32", "compiled": True},
    "ours, bfloat16": {"dtype": "bfloat16"},
    "ours, bfloat16, compiled": {"dtype": "bfloat16", "compiled": True},
    "ours, int8, compiled": {"dtype": "int8", "compiled": True},
}


def fast_models(
    model: Any, device: str, *, with_compiled: bool = True
) -> tuple[dict[str, FastModel], list[str]]:
    """Make copies of a model in all settings of OURS, and a note for each that is not available.

    Args:
        model: a question-answering model, float32.
        device: the device on which they run.
        with_compiled: False omits the compiled ones.
    """
    found, notes = {}, []
    for name, options in OURS.items():
        if options.get("compiled") and not with_compiled:
            notes.append(f"{name}: left out by --no-compile.")
            continue
        try:
            found[name] = FastModel(copy_in_dtype(model, torch.float32).to(device), **options)
        except Exception as error:  # An unsupported setting must not prevent measuring the others.
            notes.append(f"{name}: not measured, {error}")
    return found, notes


def dtype_of(side: str) -> str:
    """Return the dtype whose limit applies to a side: that of its matrix products, bfloat16 for 8 bits."""
    return "float32" if "float32" in side else "bfloat16"


def best_side(sides: Mapping[str, Any], device: str) -> str:
    """Return which of our sides `dtype="auto", compiled=True` resolves to."""
    dtype = dtype_name(fast_dtype(torch.device(device)))
    compiled = f"ours, {dtype}, compiled"
    return compiled if compiled in sides else f"ours, {dtype}"

"""The settings in which our models and the peer's answer, by the names that results give them."""

from collections.abc import Mapping
from typing import Any

import torch

from lxmert.inference.fast_model import FastModel, fast_dtype
from lxmert.weights.dtypes import dtype_name
from measuring.models import copied

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
    """Copies of a model in all settings of OURS, and a line for each that is not there.

    Args:
        model: a question-answering model, float32.
        device: where they run.
        with_compiled: False leaves the compiled ones out.
    """
    found, notes = {}, []
    for name, options in OURS.items():
        if options.get("compiled") and not with_compiled:
            notes.append(f"{name}: left out by --no-compile.")
            continue
        try:
            found[name] = FastModel(copied(model, torch.float32).to(device), **options)
        except Exception as error:  # A setting that this machine lacks must not cost the other figures.
            notes.append(f"{name}: not measured, {error}")
    return found, notes


def dtype_of(side: str) -> str:
    """The dtype whose limit a side is held against: that of its matrix products; for 8 bits bfloat16."""
    return "float32" if "float32" in side else "bfloat16"


def best_side(sides: Mapping[str, Any], device: str) -> str:
    """Which of our sides `dtype="auto", compiled=True` comes to."""
    dtype = dtype_name(fast_dtype(torch.device(device)))
    compiled = f"ours, {dtype}, compiled"
    return compiled if compiled in sides else f"ours, {dtype}"

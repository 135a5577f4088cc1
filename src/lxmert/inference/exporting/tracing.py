"""A model as one graph of PyTorch operations, for sizes that are not known beforehand.

Source: the documentation of `torch.export`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from transformers import PreTrainedModel

from lxmert.inference.exporting.signature import (
    BATCH,
    OBJECTS,
    WORDS,
    Batch,
    ScoringModule,
    Signature,
    random_batch,
)

# Sizes that a graph is traced with are all different, and none is 1: else it would hold for equal ones only.
_EXAMPLE_SIZES = (3, 7, 5)

# References to our source files, which neither a graph nor its readers need.
_SOURCE_METADATA = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node")


def trace_model(model: PreTrainedModel, signature: Signature, *, attention: str) -> ExportedProgram:
    """The graph of a model for any number of examples, words and objects.

    Args:
        model: in evaluation mode, on the CPU; left as it is.
        signature: its inputs and outputs.
        attention: the attention function of the graph, "eager" or "sdpa".
    """
    examples, words, objects = _EXAMPLE_SIZES
    sizes = (examples, min(words, signature.max_words), objects)
    axes = {
        BATCH: Dim(BATCH, min=1),
        WORDS: Dim(WORDS, min=1, max=signature.max_words),
        OBJECTS: Dim(OBJECTS, min=1),
    }
    shapes = {
        spec.name: {place: axes[size] for place, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in signature.inputs
    }
    inputs = random_batch(signature, model, sizes, torch.Generator().manual_seed(0))
    with torch.no_grad(), attention_implementation(model, attention), silence_exporters():
        module = ScoringModule(model, signature, clears_hidden=True)
        program = torch.export.export(module, (), kwargs=inputs, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        for origin in _SOURCE_METADATA:
            node.meta.pop(origin, None)
    program.example_inputs = None
    return program


def write_program(model: PreTrainedModel, signature: Signature, path: Path) -> None:
    """Write a model as a file that `torch.export.load` reads.

    Args:
        model: in evaluation mode, on the CPU.
        signature: its inputs and outputs.
        path: the file, *.pt2.
    """
    program = trace_model(model, signature, attention="sdpa")
    with silence_exporters():
        torch.export.save(program, path)


class ProgramScorer:
    """A file of `write_program`, ready to run.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        with silence_exporters():
            self._module = torch.export.load(path).module()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        """Inputs by name -> outputs by name."""
        outputs: Batch = self._module(**batch)
        return outputs


@contextmanager
def attention_implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Have the model compute its attention by this function."""
    previous: Any = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(previous)


@contextmanager
def silence_exporters() -> Iterator[None]:
    """Keep what the exporters say to their own developers off the console."""

    def is_relevant(record: logging.LogRecord) -> bool:
        # The quantiser recommends a step that costs a minute and changes nothing here.
        return "pre-processing before quantization" not in record.getMessage()

    root, exporter = logging.getLogger(), logging.getLogger("torch.onnx")
    level = exporter.level
    root.addFilter(is_relevant)
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
        root.removeFilter(is_relevant)

"""A model as an ONNX file, in float32 or with weights of 8 bits, and running it with ONNX Runtime.

The graph has ONNX's own operators alone, so that any runtime takes it. Source: ONNX operator set 20; the
documentation of `torch.onnx` and `onnxruntime.quantization`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from lxmert.errors import MissingExtraError
from lxmert.inference.exporting.signature import Batch, Signature
from lxmert.inference.exporting.tracing import silence_exporters, trace_model

if TYPE_CHECKING:
    import onnx_ir

OPSET = 20
"""The first operator set with GELU, which runtimes then compute in one step."""

MAX_SINGLE_FILE_BYTES = 256 * 2**20
"""Weights above this lie in a file of their own, which runtimes map; protobuf would copy them, up to 2 GB."""

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")

# What multiplies with weights, also Gemm, of which the quantiser makes MatMul; the word embedding, which is
# looked up, stays float32.
_QUANTIZED_OPS = ["MatMul"]


def require_onnx() -> None:
    """Do nothing where models can be exported to ONNX.

    Raises:
        MissingExtraError: a package that this needs is not installed.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"exporting to ONNX needs packages that are not installed ({', '.join(missing)}): pip install "
            '"lxmert[onnx]"'
        )


def write_onnx(model: PreTrainedModel, signature: Signature, path: Path) -> None:
    """Write a model as an ONNX file, large weights beside it as NAME.data.

    Args:
        model: in evaluation mode, on the CPU.
        signature: its inputs and outputs.
        path: the file, *.onnx.
    """
    # Written out, attention needs fewer operators than SDPA with its care for rows that see nothing; the
    # masks have that care already.
    program = trace_model(model, signature, attention="eager")
    with torch.no_grad(), silence_exporters():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=signature.input_names,
            output_names=signature.output_names,
            verbose=False,
        )
    if exported is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    _name_axes(exported.model, signature)
    _save(exported.model, path)


def write_int8(source: Path, path: Path) -> None:
    """Write an ONNX file again, with the weights of its matrix products in 8 bits, one scale per column.

    What they are multiplied with is brought to 8 bits when it runs, with one scale for a whole batch.

    Args:
        source: a file of `write_onnx`.
        path: the file to write, another one.
    """
    import onnx
    import onnx_ir
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # The quantiser transposes weights, which would contradict shapes recorded before.
    del model.graph.value_info[:]
    quantized = path.with_name(f"{path.name}.rough")
    try:
        with silence_exporters():
            quantize_dynamic(
                model,
                quantized,
                op_types_to_quantize=_QUANTIZED_OPS,
                weight_type=QuantType.QInt8,
                per_channel=True,
                use_external_data_format=True,
            )
        _save(onnx_ir.external_data.load_to_model(onnx_ir.load(quantized)), path)
    finally:
        for file in (quantized, quantized.with_name(f"{quantized.name}.data")):
            file.unlink(missing_ok=True)


def _name_axes(model: "onnx_ir.Model", signature: Signature) -> None:
    """Call the axes of any size what the signature calls them, in place; the exporter numbers them."""
    import onnx_ir

    names: dict[Any, str] = {}
    for spec, value in zip(signature.inputs, model.graph.inputs, strict=True):
        names |= {
            value.shape[place].value: size for place, size in enumerate(spec.shape) if isinstance(size, str)
        }
    node_outputs = (value for node in model.graph for value in node.outputs)
    for value in (*model.graph.inputs, *node_outputs):
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                [names.get(getattr(size, "value", None), size) for size in value.shape]
            )


def _save(model: "onnx_ir.Model", path: Path) -> None:
    """Write `model` without the notes that the exporter left in it: lines of source files."""
    import onnx_ir

    for notes in (model.metadata_props, model.graph.metadata_props):
        notes.clear()
    for node in model.graph:
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    weights = (value.const_value for value in model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    data = f"{path.name}.data" if size > MAX_SINGLE_FILE_BYTES else None
    onnx_ir.save(model, path, external_data=data)


class OnnxScorer:
    """An ONNX file, ready to run on the CPU with ONNX Runtime.

    Args:
        path: the file.
        threads: how many it runs with; None for one per core.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self.session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._output_names = [output.name for output in self.session.get_outputs()]

    def __call__(self, batch: Batch) -> Batch:
        """Inputs by name -> outputs by name."""
        inputs = {name: values.numpy() for name, values in batch.items()}
        outputs = self.session.run(self._output_names, inputs)
        return {
            name: torch.from_numpy(values) for name, values in zip(self._output_names, outputs, strict=True)
        }

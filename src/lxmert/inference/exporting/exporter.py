"""From a model to a folder that answers without this package, tried before it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from lxmert._version import __version__
from lxmert.errors import ConfigurationError, ExportError
from lxmert.inference.exporting import onnx_files
from lxmert.inference.exporting.folder import (
    PARITY_FILE,
    SETTINGS_FILE,
    atomic_folder,
    check_folder,
    write_json,
    write_readme,
    write_text_files,
)
from lxmert.inference.exporting.parity import (
    MIN_AGREEMENT,
    TOLERANCE,
    ModelScorer,
    Parity,
    ParityCheck,
    Scorer,
    compare,
    random_check,
)
from lxmert.inference.exporting.signature import Signature, export_signature
from lxmert.inference.exporting.tracing import ProgramScorer, attention_implementation, write_program
from lxmert.model.attention import CPU_ATTENTION
from lxmert.processing import LxmertProcessor
from lxmert.weights.dtypes import dtype_name

FORMAT_VERSION = 1
_MODEL_FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
_PACKAGES = {"onnx": ("torch", "onnx", "onnxscript", "onnxruntime"), "torch": ("torch",)}


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how.

    Attributes:
        file_format: "onnx" for ONNX Runtime, "torch" for `torch.export.load`.
        int8: weights of matrix products in 8 bits; with "onnx" only.
        segments: also take `token_type_ids`, for two texts at once.
        overwrite: replace an exported model at the same place.
    """

    file_format: Literal["onnx", "torch"] = "onnx"
    int8: bool = False
    segments: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.file_format not in _MODEL_FILES:
            raise ConfigurationError(
                f"unknown format {self.file_format!r}; expected one of {', '.join(_MODEL_FILES)}"
            )
        if self.int8 and self.file_format != "onnx":
            raise ConfigurationError("8-bit weights (int8) can only be used with the format onnx")


@dataclass
class ExportReport:
    """How near an exported model comes to the model.

    Attributes:
        folder: where it lies.
        float32: one comparison for each set of inputs, random ones first.
        int8: likewise, of the weights of 8 bits; empty without them.
    """

    folder: Path
    float32: list[Parity] = field(default_factory=list)
    int8: list[Parity] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """False where weights of 8 bits change more than one answer in a hundred.

        Of given inputs where there are any, for random ones are a poor judge.
        """
        return all(parity.agreement >= MIN_AGREEMENT for parity in self.int8[1:] or self.int8)

    def lines(self) -> list[str]:
        """One line for each comparison."""
        lines = [f"float32, {parity.summary()}" for parity in self.float32]
        return lines + [f"int8, {parity.summary()}" for parity in self.int8]

    def to_dict(self) -> dict[str, Any]:
        """The content of parity.json."""
        report: dict[str, Any] = {
            "tolerance": TOLERANCE,
            "float32": [parity.to_dict() for parity in self.float32],
        }
        if self.int8:
            report["int8"] = [parity.to_dict() for parity in self.int8]
        return report


def export_model(
    model: PreTrainedModel,
    folder: str | Path,
    processor: LxmertProcessor | None = None,
    options: ExportOptions | None = None,
    *,
    task: str | None = None,
    checks: Sequence[ParityCheck] = (),
    notify: Callable[[str], None] = lambda line: None,
) -> ExportReport:
    """Write a model as a folder that answers without this package.

    The file is run beside the model on random batches of several sizes, and on `checks`; float32 that differs
    is not kept.

    Args:
        model: one of the model classes in float32; put into evaluation mode and on the CPU.
        folder: the folder to write; its parents are made.
        processor: gives the tokenizer and the answers; None to leave them out.
        options: what is written.
        task: name of the task, which the folder states.
        checks: more inputs to compare on.
        notify: called with a line at each step.

    Raises:
        ConfigurationError: a folder that holds something else, a model of another class or dtype, a
            processor of another model.
        MissingExtraError: a package of the format is not installed.
        ExportError: the file does not say what the model says; nothing is left behind.
    """
    options = options or ExportOptions()
    folder = Path(folder)
    check_folder(folder, options.overwrite)
    if options.file_format == "onnx":
        onnx_files.require_onnx()
    model = model.eval().to("cpu")
    signature = export_signature(model, segments=options.segments)
    _check_model(model, signature, processor)
    report = ExportReport(folder)
    writer = _ModelWriter(model, signature, options, [random_check(model, signature), *checks], notify)
    with atomic_folder(folder) as partial:
        report.float32, report.int8 = writer.write(partial / _MODEL_FILES[options.file_format])
        settings = _settings(model, signature, processor, options, task)
        write_json(partial / SETTINGS_FILE, settings)
        write_json(partial / PARITY_FILE, report.to_dict())
        if processor is not None:
            write_text_files(partial, processor)
        write_readme(partial, settings, report.lines())
    return report


@dataclass
class _ModelWriter:
    """What the writing of model files needs to know; see `export_model`."""

    model: PreTrainedModel
    signature: Signature
    options: ExportOptions
    checks: Sequence[ParityCheck]
    notify: Callable[[str], None]

    def write(self, file: Path) -> tuple[list[Parity], list[Parity]]:
        """Write the model file; returns the comparisons of float32 and of 8 bits."""
        self.notify(f"exporting {type(self.model).__name__}")
        if self.options.file_format == "torch":
            write_program(self.model, self.signature, file)
            return self._measure_parity(ProgramScorer(file), exact=True), []
        if not self.options.int8:
            onnx_files.write_onnx(self.model, self.signature, file)
            return self._measure_parity(onnx_files.OnnxScorer(file), exact=True), []
        with TemporaryDirectory(dir=file.parent) as temporary:
            exact = Path(temporary) / file.name
            onnx_files.write_onnx(self.model, self.signature, exact)
            float32 = self._measure_parity(onnx_files.OnnxScorer(exact), exact=True)
            self.notify("quantising the weights to 8 bits")
            onnx_files.write_int8(exact, file)
        return float32, self._measure_parity(onnx_files.OnnxScorer(file), exact=False)

    def _measure_parity(self, found: Scorer, *, exact: bool) -> list[Parity]:
        self.notify("comparing the file with the model")
        reference = ModelScorer(self.model, self.signature)
        # Not by the model's own attention, which may be one for GPUs alone.
        with attention_implementation(self.model, CPU_ATTENTION):
            parities = [compare(reference, found, check, self.signature) for check in self.checks]
        for parity in parities:
            if exact and parity.beyond_tolerance:
                name = parity.beyond_tolerance[0]
                raise ExportError(
                    f"the exported file does not agree with the model: on {parity.inputs}, {name} differs "
                    f"by up to {parity.differences[name]:.1e} where values reach "
                    f"{parity.largest[name]:.1f}; expected at most {TOLERANCE:g} of that. Nothing was "
                    "written; try the other format"
                )
        return parities


def _check_model(model: PreTrainedModel, signature: Signature, processor: LxmertProcessor | None) -> None:
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if dtypes != {torch.float32}:
        names = ", ".join(sorted(map(dtype_name, dtypes)))
        raise ConfigurationError(f"models are exported from float32, got {names}; call model.float() first")
    if processor is None:
        return
    if processor.max_text_length > signature.max_words:
        raise ConfigurationError(
            f"the model reads {signature.max_words} word pieces, but the processor makes texts of up to "
            f"{processor.max_text_length}; use the processor of the model"
        )
    if len(processor.tokenizer) > model.config.vocab_size:
        raise ConfigurationError(
            f"the model knows {model.config.vocab_size} word pieces, but the tokenizer has "
            f"{len(processor.tokenizer)}; use the tokenizer of the model"
        )
    if processor.answers is None or signature.scores is None:
        return
    classes = next(spec.shape[-1] for spec in signature.outputs if spec.name == signature.scores)
    if len(processor.answers) != classes:
        raise ConfigurationError(
            f"the model scores {classes} answers, but answers.json has {len(processor.answers)}; use the "
            "answers.json of the model"
        )


def _settings(
    model: PreTrainedModel,
    signature: Signature,
    processor: LxmertProcessor | None,
    options: ExportOptions,
    task: str | None,
) -> dict[str, Any]:
    """The content of export.json."""
    words = signature.max_words if processor is None else processor.max_text_length
    versions = {name: version(name) for name in _PACKAGES[options.file_format]}
    return {
        "export_version": FORMAT_VERSION,
        "format": options.file_format,
        "file": _MODEL_FILES[options.file_format],
        "opset": onnx_files.OPSET if options.file_format == "onnx" else None,
        "int8": options.int8,
        "model_class": type(model).__name__,
        "task": task,
        "scores": signature.scores,
        "max_text_length": words,
        "most_words": signature.max_words,
        "visual_feat_dim": model.config.visual_feat_dim,
        "visual_pos_dim": model.config.visual_pos_dim,
        "inputs": [spec.to_dict() for spec in signature.inputs],
        "outputs": [spec.to_dict() for spec in signature.outputs],
        "versions": {"lxmert": __version__, **versions},
    }

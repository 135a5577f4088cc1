"""Reports of which tensors a checkpoint filled, and strict loading based on them.

`from_pretrained` initialises what a checkpoint lacks at random and only logs it. Here the same facts are a
value (`LoadReport`), and `load_complete` refuses a model that is partly random.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from lxmert.errors import IncompleteWeightsError, LxmertError, WeightsError, first_line, one_line
from lxmert.weights.dtypes import check_float_weights
from lxmert.weights.files import (
    REFUSED_PICKLE,
    check_config,
    is_refused_pickle,
    read_folder_dtypes,
    read_folder_shapes,
)
from lxmert.weights.hub import cached_weights_folder
from lxmert.weights.names import canonical_norm_name
from lxmert.weights.shapes import Shape, shapes_of

if TYPE_CHECKING:
    from rich.table import Table

ModelT = TypeVar("ModelT")

BATCH_COUNTER = "num_batches_tracked"
"""Counts training batches of a normalisation; no result depends on it, and published files may lack it."""

# An error line names this many tensors and counts the rest.
_MAX_NAMES_SHOWN = 3


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of a model a checkpoint filled; every mapping goes from the state-dict name to a shape.

    Attributes:
        model: class name of the model.
        source: the folder, file or hub name that was read.
        matched: filled from the checkpoint, tied tensors included.
        missing: in the model, not in the checkpoint: left at random values.
        unexpected: in the checkpoint, not in the model: unused. None if the shape is unknown.
        reshaped: in both with different shapes: left at random values. (checkpoint's shape, model's shape).
    """

    model: str
    source: str
    matched: Mapping[str, Shape] = field(default_factory=dict)
    missing: Mapping[str, Shape] = field(default_factory=dict)
    unexpected: Mapping[str, Shape | None] = field(default_factory=dict)
    reshaped: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)

    @classmethod
    def compare(
        cls, expected: Mapping[str, Shape], found: Mapping[str, Shape], *, model: str, source: str
    ) -> "LoadReport":
        """The report of a checkpoint with the tensors `found` for a model with the tensors `expected`."""
        return cls(
            model=model,
            source=source,
            matched={name: shape for name, shape in expected.items() if found.get(name) == shape},
            missing={name: shape for name, shape in expected.items() if name not in found},
            unexpected={name: shape for name, shape in found.items() if name not in expected},
            reshaped={
                name: (found[name], shape)
                for name, shape in expected.items()
                if name in found and found[name] != shape
            },
        )

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Names of the tensors left at random values, whether missing or reshaped."""
        return (*self.missing, *self.reshaped)

    @property
    def is_complete(self) -> bool:
        """True when no part of the model was left at random values."""
        return not self.unfilled

    def summary(self) -> str:
        """One line: the counts, and the first names of tensors that did not match."""
        total = len(self.matched) + len(self.missing) + len(self.reshaped)
        parts = [f"{self.model} from {self.source}: {len(self.matched)} of {total} tensors matched"]
        if self.missing:
            parts.append(f"{len(self.missing)} missing ({_first_names(self.missing)})")
        if self.reshaped:
            name, (found, expected) = next(iter(self.reshaped.items()))
            parts.append(
                f"{len(self.reshaped)} with another shape "
                f"({name}: checkpoint {_format_shape(found)}, model {_format_shape(expected)})"
            )
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unused ({_first_names(self.unexpected)})")
        return "; ".join(parts)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Rows (status, name, shape in the checkpoint, shape in the model) of tensors that did not match."""
        for name, shape in self.missing.items():
            yield "missing", name, "", _format_shape(shape)
        for name, (found, expected) in self.reshaped.items():
            yield "reshaped", name, _format_shape(found), _format_shape(expected)
        for name, unused in self.unexpected.items():
            yield "unexpected", name, _format_shape(unused) if unused is not None else "", ""

    def table(self) -> "Table":
        """The rows as a table for the terminal."""
        from rich.table import Table
        from rich.text import Text

        # As Text, since brackets in a name would be parsed as markup.
        title = Text(one_line(f"{self.source} → {self.model}"))
        table = Table("status", "tensor", "checkpoint", "model", title=title)
        colours = {"missing": "red", "reshaped": "red", "unexpected": "yellow"}
        for row in self.rows():
            table.add_row(*(Text(one_line(cell)) for cell in row), style=colours[row[0]])
        return table

    def require_complete(self) -> None:
        """Refuse an incomplete load.

        Raises:
            IncompleteWeightsError: some tensors were left at random values; the message counts and names
                them.
        """
        if not self.is_complete:
            raise IncompleteWeightsError(
                f"{self.summary()}. Its answers would be partly random: use a checkpoint saved from "
                f"{self.model}, or fine-tune this one first"
            )


def load_report(model_class: type[Any], name_or_folder: str | Path, **kwargs: Any) -> LoadReport:
    """Load as `model_class.from_pretrained` does and report what matched, without raising for gaps.

    Args:
        model_class: one of the model classes, of PyTorch or of Keras.
        name_or_folder: a local model folder or a hub name.
        **kwargs: passed to `from_pretrained`.

    Raises:
        WeightsError: there is no checkpoint, it cannot be read, or has weights that are not floating-point
            numbers (in PyTorch not checked of a `variant`).
    """
    return load_with_report(model_class, name_or_folder, **kwargs)[1]


def load_with_report(
    model_class: type[ModelT], name_or_folder: str | Path, **kwargs: Any
) -> tuple[ModelT, LoadReport]:
    """Like `load_report`, with the model, gaps or not; the caller decides which gaps are allowed."""
    source, loader = str(name_or_folder), cast(Any, model_class)
    if not issubclass(model_class, PreTrainedModel):
        loaded: tuple[ModelT, LoadReport] = loader.load_reported(source, **kwargs)
        return loaded
    if Path(source).is_dir() and not kwargs.keys() & {"config", "subfolder"}:
        check_config(source)
    try:
        with quiet_transformers():
            # Shape conflicts belong in the report with everything else, so they must not raise on their own.
            model, info = loader.from_pretrained(
                source, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
            )
    except (LxmertError, TypeError, ValueError, ImportError, torch.OutOfMemoryError):
        raise  # the caller's arguments or machine, not the checkpoint
    except Exception as error:  # damaged bytes surface as almost any type
        if is_refused_pickle(error):  # PyTorch's message advises to read the file anyway
            raise WeightsError(f"a weights file of {source!r} {REFUSED_PICKLE}") from error
        raise WeightsError(
            f"cannot load {model_class.__name__} from {source!r}: {first_line(error)}"
        ) from error
    safetensors = kwargs.get("use_safetensors") is not False
    folder = _folder_read(source, model, kwargs)
    if folder is not None:
        _check_dtypes(read_folder_dtypes(folder, safetensors=safetensors), model, source)
    shapes = shapes_of(model.state_dict())
    reshaped = {name: (tuple(found), tuple(expected)) for name, found, expected in info["mismatched_keys"]}
    gaps = set(info["missing_keys"]) | set(reshaped)
    return model, LoadReport(
        model=model_class.__name__,
        source=source,
        matched={name: shape for name, shape in shapes.items() if name not in gaps},
        missing={name: shapes[name] for name in shapes if name in info["missing_keys"]},
        unexpected=_unused_shapes(folder, info["unexpected_keys"], safetensors=safetensors),
        reshaped=dict(sorted(reshaped.items())),
    )


def load_complete(
    model_class: type[ModelT], name_or_folder: str | Path, **kwargs: Any
) -> tuple[ModelT, LoadReport]:
    """Load a model whose every tensor comes from the checkpoint.

    Args:
        model_class: one of the model classes, of PyTorch or of Keras.
        name_or_folder: a local model folder or a hub name.
        **kwargs: passed to `from_pretrained` (`dtype`, `attn_implementation`, `revision`, …).

    Returns:
        The model, in evaluation mode, and the complete report. Tensors of the checkpoint that the model does
        not use are allowed, and listed in the report.

    Raises:
        WeightsError: there is no checkpoint, it cannot be read, or has weights that are not floating-point
            numbers (in PyTorch not checked of a `variant`).
        IncompleteWeightsError: the checkpoint leaves part of the model at random values.
    """
    model, report = load_with_report(model_class, name_or_folder, **kwargs)
    report.require_complete()
    return model, report


def _folder_read(source: str, model: PreTrainedModel, options: Mapping[str, Any]) -> Path | None:
    """The folder whose weights `from_pretrained` read, in the hub's cache for a hub name; None if unknown."""
    if options.get("variant"):  # its files have other names
        return None
    if Path(source).is_dir():
        return Path(source, options.get("subfolder") or "")
    return cached_weights_folder(source, options, commit=getattr(model.config, "_commit_hash", None))


def _check_dtypes(dtypes: Mapping[str, str], model: PreTrainedModel, source: str) -> None:
    """Refuse weights that `transformers` converted from integers or complex numbers."""
    if getattr(model.config, "quantization_config", None) is not None:
        return
    floats = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    prefix = f"{model.base_model_prefix}."
    floats |= {prefix + name for name in floats} | {name.removeprefix(prefix) for name in floats}
    # As `transformers` reads them, under the old names of LayerNorm too.
    read = {name: dtype for name, dtype in dtypes.items() if {name, canonical_norm_name(name)} & floats}
    check_float_weights(read, source)


def _unused_shapes(
    folder: Path | None, names: Iterable[str], *, safetensors: bool
) -> dict[str, Shape | None]:
    """Shapes of unused checkpoint tensors, unknown without a folder."""
    ordered = sorted(names)
    shapes = read_folder_shapes(folder, safetensors=safetensors) if ordered and folder is not None else {}
    return {name: shapes.get(name) for name in ordered}


@contextmanager
def quiet_transformers(*, warnings_too: bool = True) -> Iterator[None]:
    """Silence the progress bars of transformers, and its warnings.

    Args:
        warnings_too: True also silences warnings of missing tensors (which the report has) and of retried
            downloads; False keeps warnings, for a training run.
    """
    hub_verbosity = hub_logging.get_verbosity()
    verbosity, progress = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    if warnings_too:
        transformers_logging.set_verbosity_error()
        hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if progress:
            transformers_logging.enable_progress_bar()


def _first_names(names: Mapping[str, object]) -> str:
    shown = ", ".join(list(names)[:_MAX_NAMES_SHOWN])
    return f"{shown} and {len(names) - _MAX_NAMES_SHOWN} more" if len(names) > _MAX_NAMES_SHOWN else shown


def _format_shape(shape: Shape) -> str:
    return "×".join(str(size) for size in shape) or "scalar"

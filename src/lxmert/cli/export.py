"""`lxmert export`: write a model as a file that runs without this package."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lxmert.cli.task_models import (
    FeaturesOption,
    FilesOption,
    ModelArgument,
    TaskModel,
    TaskOption,
    load_task_model,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lxmert.data.task_dataset import TaskCollator, TaskDataset
    from lxmert.inference.exporting.parity import ParityCheck
    from lxmert.inference.exporting.signature import Batch
    from lxmert.processing import LxmertProcessor

_QUESTIONS_PER_BATCH = 32
_MAX_CHECKED_QUESTIONS = 1000

# Models without a task; --task turns their weights into a task model.
_TASKLESS_CLASSES = ("LxmertModel", "LxmertForPreTraining")

# The files of a saved processor.
_PROCESSOR_FILES = (
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "answers.json",
)


def export(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    file_format: Annotated[
        Literal["onnx", "torch"],
        typer.Option("--format", help="onnx: for ONNX Runtime; torch: for torch.export.load."),
    ] = "onnx",
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Store weights in 8 bits: a third of the size, but answers may change."),
    ] = False,
    task: TaskOption = None,
    segments: Annotated[
        bool, typer.Option("--segments", help="Add the input token_type_ids, for pairs of texts.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            help="Data directory whose questions to compare on, in addition to random inputs.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Split of --check to use.", show_default="test"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="Use only the first N questions of --check.", show_default="1000"
        ),
    ] = None,
    features: FeaturesOption = None,
    files: FilesOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing export.")] = False,
) -> None:
    """Export a model for ONNX Runtime or torch.export, and compare the export with the model.

    The folder contains the model file, tokenizer.json, answers.json, export.json (inputs and outputs),
    parity.json and README.md. A float32 file whose scores differ from the model's is not kept.
    """
    from lxmert.inference.exporting.exporter import ExportOptions, export_model
    from lxmert.inference.exporting.folder import check_folder
    from lxmert.inference.exporting.onnx_files import require_onnx
    from lxmert.weights.report import quiet_transformers

    if int8 and file_format != "onnx":
        raise typer.BadParameter("--int8 can only be used with --format onnx.")
    if check is None:
        _reject_without_check({"--split": split, "--limit": limit, "--features": features, "--files": files})
    # Before the model is loaded, which takes longer.
    check_folder(output, overwrite)
    if file_format == "onnx":
        require_onnx()
    with quiet_transformers(warnings_too=False):
        loaded = _load(model, task, files or ())
        checks = [] if check is None else [_question_check(loaded, check, split, limit, features or ())]
        report = export_model(
            loaded.model,
            output,
            loaded.processor,
            ExportOptions(file_format, int8, segments, overwrite),
            task=loaded.task,
            checks=checks,
            notify=lambda line: typer.echo(f"{line} …"),
        )
    for line in report.lines():
        typer.echo(line)
    if not report.agrees:
        inputs = "" if checks else " to random inputs"
        advice = "" if checks else ", or measure the effect on real questions with --check"
        line = f"8-bit weights change more than 1 % of the answers{inputs}; omit --int8{advice}"
        typer.echo(f"warning: {line}", err=True)
    typer.echo(f"wrote {output}")


@dataclass(frozen=True)
class _Loaded:
    """A model to export; `task_model` is None for models without a task."""

    model: "PreTrainedModel"
    processor: "LxmertProcessor | None"
    task_model: TaskModel | None = None

    @property
    def task(self) -> str | None:
        """The name of its task."""
        return None if self.task_model is None else self.task_model.task


def _load(name: str, task: str | None, file_names: Sequence[str]) -> _Loaded:
    """Load the model of a task; without --task also an encoder or a pre-trained model, as its folder says."""
    import torch

    import lxmert
    from lxmert.inference.models import find_model
    from lxmert.processing import LxmertProcessor
    from lxmert.training.task_registry import saved_architectures
    from lxmert.weights.report import load_complete

    location = find_model(name)
    kinds = [kind for kind in saved_architectures(location.folder) if kind in _TASKLESS_CLASSES]
    if task is not None or not kinds:
        task_model = load_task_model(name, task, file_names, location=location)
        return _Loaded(task_model.model, task_model.processor, task_model)
    model, _ = load_complete(getattr(lxmert, kinds[0]), location.folder, dtype=torch.float32)
    has_processor = any((location.folder / file).exists() for file in _PROCESSOR_FILES)
    # An encoder may come without a tokenizer.
    return _Loaded(model, LxmertProcessor.from_pretrained(location.folder) if has_processor else None)


def _reject_without_check(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value:
            raise typer.BadParameter(f"{name} can only be used with --check.")


def _question_check(
    loaded: _Loaded, data: Path, split: str | None, limit: int | None, features: Sequence[Path]
) -> "ParityCheck":
    """Make a check on the questions of a data directory."""
    from lxmert.data.joined_stores import open_stores
    from lxmert.data.task_dataset import TargetKind, TaskCollator, TaskDataset
    from lxmert.data.task_examples import Subset
    from lxmert.inference.exporting.parity import ParityCheck
    from lxmert.training.evaluation import load_regions
    from lxmert.training.task_registry import get_task
    from lxmert.training.tasks import get_answer_vocabulary

    kind = loaded.task_model
    if kind is None:
        raise typer.BadParameter("--check needs a model with a task, and this model has none.")
    split, limit = split or "test", limit or _MAX_CHECKED_QUESTIONS
    processor = kind.processor
    reader = get_task(kind.task).split(data, split, kind.files, Subset(first_examples=limit))
    examples, answers = reader.read(), get_answer_vocabulary(processor)
    regions = load_regions(examples, processor, open_stores(features) if features else None)
    items = TaskDataset(
        examples.examples, examples.targets(answers), processor.tokenizer, processor.max_text_length, regions
    )
    collate = TaskCollator(regions, processor.tokenizer.pad_token_id, len(answers), TargetKind.CLASS)
    return ParityCheck(f"{len(items):,} questions of {data}, {split}", _Batches(items, collate))


@dataclass(frozen=True)
class _Batches:
    """A data set in batches; may be iterated several times."""

    items: "TaskDataset"
    collate: "TaskCollator"

    def __iter__(self) -> "Iterator[Batch]":
        for start in range(0, len(self.items), _QUESTIONS_PER_BATCH):
            stop = min(start + _QUESTIONS_PER_BATCH, len(self.items))
            yield self.collate([self.items[row] for row in range(start, stop)])

"""Shared by `lxmert eval`, `predict` and `export`: options, a model for its task, the layout of the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lxmert.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lxmert.data.file_layouts import TaskFiles
    from lxmert.inference.models import ModelLocation
    from lxmert.processing import LxmertProcessor

ModelArgument = Annotated[
    str, typer.Argument(help="Model: 'scenes' (the embedded one), a folder, or a hub name.")
]
DataArgument = Annotated[Path, typer.Argument(help="Data directory, in the layout of `lxmert scenes make`.")]
TaskOption = Annotated[
    Literal["vqa", "gqa", "nlvr2"] | None,
    typer.Option(
        "--task", help="Task of the data and model.", show_default="the task the model was trained for"
    ),
]
SplitOption = Annotated[
    str, typer.Option("--split", help="Split; several are joined with commas, as in val,test.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first N questions.", show_default=False)
]
FeaturesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--features", help="Feature store of the images, instead of extracting features now. Repeatable."
    ),
]
FilesOption = Annotated[
    list[str] | None,
    typer.Option("--files", help="Override a file name, as in --files choices=null. Repeatable."),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Maximum number of questions per batch.",
        show_default="as suits the device",
    ),
]
DtypeOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "int8"],
    typer.Option(
        "--dtype",
        help="Precision. auto: the lowest that answers the first questions as float32 does, if there are "
        "enough questions: int8 if compiled, bfloat16 if the device has units for it. int8: on a CPU; "
        "compiles first.",
    ),
]
CompileOption = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the model first; takes minutes, once.",
        show_default="for int8, which auto tries for large splits with --features",
    ),
]


def print_note(line: str) -> None:
    """Print a note on standard error, apart from the results."""
    typer.echo(f"note: {line}", err=True)


@dataclass(frozen=True)
class TaskModel:
    """A model ready to be run over data.

    Attributes:
        task: Name of its task.
        model: The model, on a GPU if there is one.
        processor: Its processor.
        files: Layout of the data directory.
    """

    task: str
    model: "PreTrainedModel"
    processor: "LxmertProcessor"
    files: "TaskFiles"

    @property
    def dtype(self) -> str:
        """The dtype that the model computes in, as named by `--dtype`."""
        from lxmert.inference.fast_model import answering_dtype

        return answering_dtype(self.model)


def load_task_model(
    name: str,
    task: str | None,
    file_names: Sequence[str] = (),
    *,
    local_rank: int = 0,
    location: "ModelLocation | None" = None,
) -> TaskModel:
    """Load a model for its task.

    Args:
        name: "scenes", a folder, or a hub name.
        task: "vqa", "gqa" or "nlvr2"; None for the task that the model was fine-tuned on.
        file_names: Changes of the layout, as in "questions=my_{split}.json". The layout is otherwise that of
            the recipe in the model's folder, else that of `lxmert scenes make`.
        local_rank: Number of this process on this machine, which selects its GPU.
        location: The model's location, if known already.

    Raises:
        ConfigurationError: The model has no task, or a file name is wrong.
        WeightsError: No such model, or an incomplete one.
    """
    import torch

    from lxmert.devices import process_device
    from lxmert.inference.models import find_model
    from lxmert.processing import LxmertProcessor
    from lxmert.training.task_registry import get_task, read_trained_task, task_of_model
    from lxmert.weights.report import load_complete

    location = location or find_model(name)
    kind = task_of_model(name, location.folder) if task is None else get_task(task)
    trained = read_trained_task(location.folder)
    layout = trained[1].model_dump() if trained is not None and trained[0] is kind else {}
    files = _resolve_files(kind.files_class, layout, file_names)
    model, _ = load_complete(kind.model_class, location.folder, dtype=torch.float32)
    processor = LxmertProcessor.from_pretrained(location.name_or_path, **location.hub_options)
    device = process_device(local_rank)
    return TaskModel(kind.name, model.to(device), processor.to(device), files)


def _resolve_files(
    files_class: "type[TaskFiles]", layout: dict[str, Any], changes: Sequence[str]
) -> "TaskFiles":
    from pydantic import ValidationError

    from lxmert.training.recipe_values import format_validation_errors

    for change in changes:
        key, equals, name = change.partition("=")
        if not equals:
            raise ConfigurationError(f"--files {change}: expected a key and a file name, as in choices=null")
        layout[key] = None if name == "null" else name
    try:
        return files_class.model_validate(layout)
    except ValidationError as error:
        raise ConfigurationError(f"--files: {format_validation_errors(error, files_class)}") from None

"""`lxmert predict`: a model's answers to a split as the leaderboard's submission file."""

from pathlib import Path
from typing import Annotated

import typer

from lxmert.cli.task_models import (
    BatchSizeOption,
    DataArgument,
    FeaturesOption,
    FilesOption,
    LimitOption,
    ModelArgument,
    SplitOption,
    TaskOption,
    load_task_model,
)


def predict(
    model: ModelArgument,
    data: DataArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The submission file to write.", show_default=False)
    ],
    task: TaskOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    features: FeaturesOption = None,
    files: FilesOption = None,
    batch_size: BatchSizeOption = 512,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Answer a split, which needs no annotations, and write the leaderboard's submission file.

    VQA and GQA: a JSON list; NLVR2: lines of identifier,True or identifier,False. `lxmert
    validate-submission` checks such a file, `lxmert score` scores it where there are annotations.
    """
    from lxmert.training.prediction import predict_to_file
    from lxmert.training.progress import ProgressDisplay
    from lxmert.weights.report import quiet_transformers

    with ProgressDisplay(enabled=not quiet) as display, quiet_transformers(warnings_too=False):
        loaded = load_task_model(model, task, files or ())
        count = predict_to_file(
            loaded.model,
            loaded.processor,
            data,
            split,
            output,
            task=loaded.task,
            limit=limit,
            files=loaded.files,
            features=features or (),
            batch_size=batch_size,
            progress=display.start,
        )
    typer.echo(f"{output}: {count:,} predictions")

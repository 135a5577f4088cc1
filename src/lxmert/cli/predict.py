"""`lxmert predict`: a model's answers to a split as the leaderboard's submission file."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def predict(
    model: Annotated[
        str, typer.Argument(help='Model: "scenes" (the embedded one), a folder, or a hub name.')
    ],
    data: Annotated[Path, typer.Argument(help="Data directory, as `lxmert scenes make` writes it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The submission file to write.", show_default=False)
    ],
    task: Annotated[
        Literal["vqa", "gqa", "nlvr2"] | None,
        typer.Option(
            "--task", help="Which data and format; what the model was trained for.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help='Which split to answer; "val,test" joins several.')
    ] = "test",
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only the first so many questions.", show_default=False),
    ] = None,
    features: Annotated[
        list[Path] | None,
        typer.Option(
            "--features", help="Feature store of the images, instead of extracting them now. Repeatable."
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--files", help="Change a file name, as in --files images=pictures. Repeatable."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 512,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Answer a split, which needs no annotations, and write the leaderboard's submission file.

    VQA and GQA: a JSON list; NLVR2: lines of identifier,True or identifier,False. `lxmert
    validate-submission` checks such a file, `lxmert score` scores it where there are annotations.
    """
    from lxmert.cli.task_models import load_task_model
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

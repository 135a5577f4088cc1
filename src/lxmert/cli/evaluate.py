"""`lxmert eval`: recompute a model's official figures over a data directory."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def evaluate(
    model: Annotated[
        str, typer.Argument(help='Model: "scenes" (the embedded one), a folder, or a hub name.')
    ],
    data: Annotated[Path, typer.Argument(help="Data directory, as `lxmert scenes make` writes it.")],
    task: Annotated[
        Literal["vqa", "gqa", "nlvr2"] | None,
        typer.Option(
            "--task", help="Which data and figures; what the model was trained for.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help='Which split to score; "val,test" joins several.')
    ] = "test",
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only the first so many questions.", show_default=False),
    ] = None,
    evaluator: Annotated[
        Literal["present", "before-2021-03"],
        typer.Option("--evaluator", help="Version of the official VQA evaluator."),
    ] = "present",
    features: Annotated[
        list[Path] | None,
        typer.Option(
            "--features", help="Feature store of the images, instead of extracting them now. Repeatable."
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--files", help="Change a file name, as in --files choices=null. Repeatable."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Recompute a model's official figures: VQA accuracy, or those of GQA or NLVR2."""
    from lxmert.cli.score_tables import table_of
    from lxmert.cli.task_models import load_task_model
    from lxmert.training.evaluation import evaluate_model
    from lxmert.training.progress import ProgressDisplay
    from lxmert.weights.report import quiet_transformers

    with ProgressDisplay(enabled=not as_json) as display, quiet_transformers(warnings_too=False):
        loaded = load_task_model(model, task, files or ())
        settings: dict[str, Any] = {"evaluator": evaluator} if loaded.task == "vqa" else {}
        report = evaluate_model(
            loaded.model,
            loaded.processor,
            data,
            split,
            limit,
            task=loaded.task,
            files=loaded.files,
            features=features or (),
            batch_size=batch_size,
            progress=display.start,
            **settings,
        )
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    title = f"{model} on {data}, {loaded.task}, split {split}"
    Console().print(table_of(title, report.scored.scores))

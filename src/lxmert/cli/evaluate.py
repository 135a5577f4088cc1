"""`lxmert eval`: recompute a model's accuracy over a data directory."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    model: Annotated[
        str, typer.Argument(help='Model: "scenes" (the embedded one), a folder, or a hub name.')
    ],
    data: Annotated[Path, typer.Argument(help="Data directory, as `lxmert scenes make` writes it.")],
    split: Annotated[str, typer.Option("--split", help="Which split to score.")] = "test",
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only the first so many questions.", show_default=False),
    ] = None,
    evaluator: Annotated[
        Literal["present", "before-2021-03"],
        typer.Option("--evaluator", help="Version of the official VQA evaluator."),
    ] = "present",
    features: Annotated[
        Path | None,
        typer.Option("--features", help="Feature store of the images, instead of extracting them now."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Recompute a model's official VQA accuracy, per question type and answer type."""
    from lxmert.inference.predictor import LxmertPredictor
    from lxmert.training.evaluation import evaluate_vqa
    from lxmert.training.metrics.vqa import VqaEvaluator
    from lxmert.training.progress import ProgressDisplay, accuracy_table
    from lxmert.weights.report import quiet_transformers

    with ProgressDisplay(enabled=not as_json) as display, quiet_transformers(warnings_too=False):
        predictor = LxmertPredictor.from_pretrained(model)
        report = evaluate_vqa(
            predictor.model,
            predictor.processor,
            data,
            split,
            limit,
            features=features,
            evaluator=VqaEvaluator(evaluator),
            progress=display.start,
        )
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    groups = {"question type": report.scores.per_question_type, "answer type": report.scores.per_answer_type}
    title = f"{model} on {data}, split {split}: {report.scores.questions:,} questions"
    Console().print(accuracy_table(title, report.accuracy, groups, report.scores.questions_per_type))

"""`lxmert eval`: recompute a model's official figures over a data directory."""

import json
from typing import Annotated, Any, Literal

import typer

from lxmert.cli.task_models import (
    BatchSizeOption,
    CompileOption,
    DataArgument,
    DtypeOption,
    FeaturesOption,
    FilesOption,
    LimitOption,
    ModelArgument,
    SplitOption,
    TaskOption,
    load_task_model,
    print_note,
)
from lxmert.faults import EVALUATOR_NEEDS_OFFICIAL_FILES


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    task: TaskOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    evaluator: Annotated[
        Literal["present", "before-2021-03"] | None,
        typer.Option(
            "--evaluator",
            help="Version of the official VQA evaluator (task vqa only).",
            show_default="present",
        ),
    ] = None,
    features: FeaturesOption = None,
    files: FilesOption = None,
    batch_size: BatchSizeOption = None,
    dtype: DtypeOption = "auto",
    compiled: CompileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Compute the official metrics of a model on VQA, GQA or NLVR2."""
    from lxmert.cli.score_tables import score_table
    from lxmert.inference.model_setup import ModelSetup
    from lxmert.training.evaluation import evaluate_model
    from lxmert.training.progress import ProgressDisplay
    from lxmert.weights.report import quiet_transformers

    with ProgressDisplay(enabled=not as_json) as display, quiet_transformers(warnings_too=False):
        loaded = load_task_model(model, task, files or ())
        if evaluator is not None and loaded.task != "vqa":
            raise typer.BadParameter(
                f"--evaluator can only be used with the task vqa, not with {loaded.task}."
            )
        if evaluator is not None and loaded.files.is_labelled:
            raise typer.BadParameter(EVALUATOR_NEEDS_OFFICIAL_FILES)
        settings: dict[str, Any] = {} if evaluator is None else {"evaluator": evaluator}
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
            setup=ModelSetup(dtype, compiled),
            progress=display.start,
            notify=print_note,
            **settings,
        )
    if as_json:
        typer.echo(json.dumps(report.to_dict() | {"dtype": loaded.dtype}, indent=2))
        return
    from rich.console import Console

    title = f"{model} on {data}, {loaded.task}, split {split}, in {loaded.dtype}"
    Console().print(score_table(title, report.scored.scores))

"""`lxmert eval-detector`: recompute a detector's figures over annotated boxes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxmert.errors import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.training.detection.saved_detector import SavedDetectorReport

_MAX_CLASSES_SHOWN = 30


def eval_detector(
    model: Annotated[
        str, typer.Argument(help="Detector: 'scenes' (the embedded one), a folder, or a hub name.")
    ],
    data: Annotated[Path, typer.Argument(help="Data directory with boxes in COCO or Visual Genome format.")],
    split: Annotated[str, typer.Option("--split", help="Split to evaluate.")] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use only the first N images.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Recipe with the file names and the definition of attributes. By default, the detector's "
            "own recipe, or else the recipe defaults.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compute a detector's mean average precision, attribute accuracy and recall."""
    from lxmert.training.detection.saved_detector import evaluate_detector
    from lxmert.training.progress import ProgressDisplay
    from lxmert.weights.report import quiet_transformers

    with ProgressDisplay(enabled=not as_json) as display, quiet_transformers(warnings_too=False):
        result = evaluate_detector(model, data, split, limit, recipe=config, progress=display.start)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(f"{model} on {data}, split {split}: {result.images:,} images", soft_wrap=True)
    console.print(_table(result))
    left_out = len(result.boxes) - _MAX_CLASSES_SHOWN
    if left_out > 0:
        console.print(f"classes with higher precision, not shown: {left_out:,}; use --json to list all")


def _table(result: "SavedDetectorReport") -> "Table":
    from rich.table import Table
    from rich.text import Text

    report = result.report
    table = Table()
    table.add_column("figure")
    table.add_column("true boxes", justify="right")
    table.add_column("%", justify="right")
    total = f"{sum(result.boxes.values()):,}"
    table.add_row("mAP@0.5", total, f"{report.mean_average_precision:.2f}")
    table.add_row("recall@0.5", total, f"{report.recall:.2f}")
    if report.attribute_accuracy is not None:
        table.add_row("attribute accuracy of boxes found", "", f"{report.attribute_accuracy:.2f}")
    table.add_section()
    worst = sorted(report.average_precision.items(), key=lambda item: item[1])[:_MAX_CLASSES_SHOWN]
    for number, value in worst:
        name = result.names[number]
        table.add_row(Text(one_line(f"AP@0.5 {name}")), f"{result.boxes[name]:,}", f"{value:.2f}")
    return table

"""`lxmert demo`: newly generated pictures, questions about them, and the embedded model's answers."""

import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.inference.demonstration import Demonstration


def demo(
    context: typer.Context,
    scenes: Annotated[int, typer.Option(min=1, max=100, help="Number of pictures to draw.")] = 2,
    questions: Annotated[int, typer.Option(min=1, max=40, help="Number of questions per picture.")] = 8,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Random seed: the same seed gives the same pictures. By default, a new one each time."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="'scenes' (the embedded model) or a model folder.")] = "scenes",
    output: Annotated[Path, typer.Option(help="Folder to write the pictures to.")] = Path("lxmert-demo"),
) -> None:
    """Draw new pictures, ask about them, and compare the answers with the truth. Needs no network."""
    from rich.console import Console

    from lxmert.inference.demonstration import Demonstration, demonstrate
    from lxmert.inference.predictor import LxmertPredictor

    console = Console()
    chosen_seed = secrets.randbelow(2**31) if seed is None else seed
    predictor = LxmertPredictor.from_pretrained(model)
    shown: list[Demonstration] = []
    for index in range(scenes):
        demonstration = demonstrate(predictor, seed=chosen_seed, index=index, questions=questions)
        demonstration.write(output)
        console.print(_table(demonstration))
        if demonstration.has_detected_objects:
            console.print(_detected_summary(demonstration), highlight=False, style="dim")
        shown.append(demonstration)
    correct = sum(demonstration.correct_count for demonstration in shown)
    total = sum(len(demonstration.questions) for demonstration in shown)
    # Not printed by rich, which would take brackets in a folder's name for markup and wrap long lines.
    typer.echo(f"{correct} of {total} correct. Seed {chosen_seed}; pictures and boxes in {output}/")
    first = shown[0]
    console.print("Ask a question yourself:", style="bold")
    command = ["ask", str(output / first.image_file_name), first.questions[0].question]
    if predictor.needs_boxes:
        command += ["--boxes", str(output / first.boxes_file_name)]
    if model != "scenes":
        command += ["--model", model]
    typer.echo(f"  {_program_command(context)} {quote_command([*command, '--top-k', '3'])}")


def _program_command(context: typer.Context) -> str:
    """Return the command that starts this program here: `.venv/bin/lxmert` if the venv is not activated."""
    called = context.find_root().info_name or "lxmert"
    started = Path(sys.argv[0])
    if called == started.stem and shutil.which(called) is None:
        return quote_command([str(started)])
    return called


def quote_command(words: Sequence[str]) -> str:
    """Join the words of a command with the quotes that this system's shell needs."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _detected_summary(demonstration: "Demonstration") -> str:
    """Describe the objects that the detector found."""
    count = f"{len(demonstration.regions)} objects found, {demonstration.scene_object_count} drawn"
    return f"{count}: {', '.join(demonstration.labels)}" if demonstration.labels else count


def _table(demonstration: "Demonstration") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=demonstration.image_file_name, title_justify="left", box=None, pad_edge=False)
    for heading in ("question", "answer", "probability", "truth"):
        table.add_column(heading, justify="right" if heading == "probability" else "left")
    for item in demonstration.questions:
        mark, style = ("✓", "green") if item.is_correct else ("✗", "red")
        truth = Text(f"{mark} {item.truth}", style=style)
        table.add_row(item.question, item.answer, f"{item.probability:.0%}", truth)
    return table

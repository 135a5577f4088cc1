"""`lxmert explain`: which words and which objects an answer rests on."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lxmert.cli import image_session
from lxmert.errors import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.explain import Explanation

_MAX_OBJECTS = 10
_BAR_WIDTH = 20
"""Characters of a bar of full weight."""


def explain(
    image: image_session.ImageArgument,
    question: image_session.QuestionArgument,
    method: Annotated[
        Literal["relevance", "removal", "gradient", "attention"],
        typer.Option(
            help="relevance: attention of all layers, weighted by gradients; removal: drop in the answer's "
            "probability without the word or object; gradient: gradient times input; attention: attention "
            "of the last layer."
        ),
    ] = "relevance",
    answer: Annotated[
        str | None,
        typer.Option(help="Explain this answer, for example the correct one, instead of the model's."),
    ] = None,
    model: image_session.ModelOption = "scenes",
    boxes: image_session.BoxesOption = None,
    detector: image_session.DetectorOption = None,
    answers: image_session.AnswersOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Drawing to write.", show_default="IMAGE.explained.png"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; draw only with --output.")
    ] = False,
) -> None:
    """Show which words and objects an answer rests on, as tables and a drawing."""
    from lxmert.cli.drawings import default_drawing_path, save_drawing, validate_drawing_path

    drawing = validate_drawing_path(
        output or (None if as_json else default_drawing_path(image, "explained")), image
    )
    session = image_session.open_session(
        image, question, model=model, boxes=boxes, detector=detector, answers=answers
    )
    unread = session.report_unread(question)
    from lxmert.explain import explain as explain_answer

    predictor, regions = session.predictor, session.regions
    explanation = explain_answer(predictor, regions, question, answer=answer, method=method)
    names = predictor.names()
    labels = names.labels(regions)
    if not as_json:
        _print(explanation, labels)
    if drawing is not None:
        save_drawing(explanation.draw(session.image, labels), drawing)
    if as_json:
        from lxmert.inference.object_detection import describe_object

        report: dict[str, Any] = {"image": image, "model": model} | unread
        report |= explanation.to_dict()
        report["objects"] = [
            describe_object(regions, row, names).to_dict() | {"weight": weight}
            for row, weight in enumerate(report["objects"])
        ]
        report["drawing"] = None if drawing is None else str(drawing)
        typer.echo(json.dumps(report))
    elif drawing is not None:
        typer.echo(f"method: {method}; drawing: {drawing}")


def _print(explanation: "Explanation", labels: tuple[str, ...]) -> None:
    from rich.console import Console

    console = Console()
    typer.echo(image_session.format_answer(explanation.answer.text, explanation.answer.probability))
    words = zip(explanation.words, explanation.word_weights, explanation.word_shares(), strict=True)
    console.print(_table("word", words))
    ranked = explanation.ranked_objects()[:_MAX_OBJECTS]
    if ranked:
        shares = explanation.object_shares()
        names = [labels[row] for row in ranked]
        weights = [explanation.object_weights[row] for row in ranked]
        console.print(_table("object", zip(names, weights, (shares[row] for row in ranked), strict=True)))


def _table(kind: str, rows: Iterable[tuple[str, float, float]]) -> "Table":
    """Tabulate names and weights, with the weights as bars."""
    from rich.table import Table
    from rich.text import Text

    from lxmert.vision.drawing.weighted import OPPOSING_COLOUR, SUPPORTING_COLOUR

    table = Table(box=None, pad_edge=False)
    table.add_column(kind)
    table.add_column("weight", justify="right")
    table.add_column("")
    for name, weight, share in rows:
        colour = "rgb({},{},{})".format(*(SUPPORTING_COLOUR if share > 0 else OPPOSING_COLOUR))
        bar = Text("█" * round(abs(share) * _BAR_WIDTH), style=colour)
        table.add_row(Text(one_line(name)), f"{weight:z.3f}", bar)
    return table

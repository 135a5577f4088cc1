"""`lxmert look`: show the objects that a detector sees in one picture."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxmert.cli.image_session import ImageArgument
from lxmert.errors import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.inference.object_detection import DetectionResult


def look(
    image: ImageArgument,
    detector: Annotated[
        str,
        typer.Option(
            "--detector",
            "--model",
            help="Detector: 'scenes' (the embedded one), a folder or hub name of a detector or of a model "
            "with a processor, or a JSON or YAML file that describes an extractor.",
        ),
    ] = "scenes",
    boxes: Annotated[
        Path | None,
        typer.Option(help="JSON file with the boxes to describe: a list of [x1, y1, x2, y2] in pixels."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Drawing to write.", show_default="IMAGE.objects.png"),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Keep the N objects with the highest scores.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Keep objects with at least this score.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; draw only with --output.")
    ] = False,
) -> None:
    """Show the objects in a picture, with boxes, names and scores, as a table and a drawing."""
    from lxmert.cli.drawings import default_drawing_path, save_drawing, validate_drawing_path
    from lxmert.inference.boxes_file import read_boxes
    from lxmert.vision.images import load_image

    drawing = validate_drawing_path(
        output or (None if as_json else default_drawing_path(image, "objects")), image
    )
    boxes_xyxy_px = None if boxes is None else read_boxes(boxes)
    picture = load_image(image)
    # Only now: the detectors take seconds to import, a misspelt picture is reported at once.
    from lxmert.inference.extractors import load_extractor
    from lxmert.inference.object_detection import detect_objects

    result = detect_objects(picture, load_extractor(detector), boxes_xyxy_px, top=top, min_score=min_score)
    if not as_json:
        _print_table(result)
    if drawing is not None:
        save_drawing(result.draw(), drawing)
    if as_json:
        request = {"image": image, "detector": detector, "drawing": None if drawing is None else str(drawing)}
        typer.echo(json.dumps(request | result.to_dict()))
    else:
        _print_summary(result, drawing)


def _print_table(result: "DetectionResult") -> None:
    from rich.console import Console

    if result.objects:
        Console().print(_table(result))


def _print_summary(result: "DetectionResult", drawing: Path | None) -> None:
    count = len(result.objects)
    summary = f"{count or 'No'} object{'' if count == 1 else 's'} found by {result.regions.extractor}"
    if drawing is not None:
        summary += f"; drawing: {drawing}"
    typer.echo(one_line(summary))


def _table(result: "DetectionResult") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from lxmert.vision.drawing import palette_colour

    has_names = any(item.label for item in result.objects)
    has_scores = any(item.score is not None for item in result.objects)
    table = Table(box=None, pad_edge=False)
    for heading, is_shown in (("", True), ("object", has_names), ("score", has_scores)):
        if is_shown:
            table.add_column(heading, justify="left" if heading == "object" else "right")
    for heading in ("x1", "y1", "x2", "y2"):
        table.add_column(heading, justify="right", style="dim")
    for number, item in enumerate(result.objects, start=1):
        row = [Text(str(number), style="rgb({},{},{})".format(*palette_colour(number - 1)))]
        row += [Text(one_line(item.label or ""))] if has_names else []
        row += [Text("" if item.score is None else f"{item.score:.0%}")] if has_scores else []
        table.add_row(*row, *(f"{corner:.0f}" for corner in item.box_xyxy_px))
    return table

"""`lxmert ask`: one question about one picture."""

import json
from pathlib import Path
from typing import Annotated

import typer


def ask(
    image: Annotated[str, typer.Argument(help="The picture: any file Pillow reads.", show_default=False)],
    question: Annotated[str, typer.Argument(help="The question, in quotes.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="'scenes' (the embedded model), a model folder, or a hub name.")
    ] = "scenes",
    boxes: Annotated[
        Path | None,
        typer.Option(help="JSON file with the objects' boxes: a list of [x1, y1, x2, y2] in pixels."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many answers to print, most probable first.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Answer a question about a picture."""
    from lxmert.inference.boxes_file import read_boxes
    from lxmert.inference.predictor import LxmertPredictor

    boxes_xyxy_px = None if boxes is None else read_boxes(boxes)
    predictor = LxmertPredictor.from_pretrained(model)
    regions = predictor.regions(image, boxes_xyxy_px)
    (answers,) = predictor.answer(regions, [question], top_k=top_k)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "image": image,
                    "question": question,
                    "model": model,
                    "answers": [{"answer": a.text, "probability": round(a.probability, 6)} for a in answers],
                },
                ensure_ascii=False,
            )
        )
        return
    for answer in answers:
        typer.echo(f"{answer.text}  ({answer.probability:.1%})")

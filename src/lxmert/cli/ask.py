"""`lxmert ask`: one question about one picture."""

import json
from pathlib import Path
from typing import Annotated

import typer


def ask(
    image: Annotated[
        str, typer.Argument(help="The picture: any file Pillow reads, or its address.", show_default=False)
    ],
    question: Annotated[str, typer.Argument(help="The question, in quotes.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            help="'scenes' (the embedded model), a model folder, or a hub name such as "
            "unc-nlp/lxmert-vqa-uncased (for photographs)."
        ),
    ] = "scenes",
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="JSON file with the objects' boxes: a list of [x1, y1, x2, y2] in pixels. "
            "If not given, the model's detector finds the objects."
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="What finds the objects instead of the model's own: 'scenes', a detector's folder or hub "
            "name, or a JSON or YAML file that describes an extractor."
        ),
    ] = None,
    answers: Annotated[
        str | None,
        typer.Option(help="Answer table instead of the model's own: a JSON file, or 'vqa' or 'gqa'."),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many answers to print, most probable first.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: answers, and the objects they rest on.")
    ] = False,
) -> None:
    """Answer a question about a picture."""
    from lxmert.inference.boxes_file import read_boxes
    from lxmert.vision.images import load_image

    boxes_xyxy_px = None if boxes is None else read_boxes(boxes)
    picture = load_image(image)
    # Only now: a model takes seconds to load or minutes to fetch, a misspelt name of a picture none to tell.
    from lxmert.inference.looking import in_words
    from lxmert.inference.predictor import LxmertPredictor
    from lxmert.texts import unknown_words

    predictor = LxmertPredictor.from_pretrained(model, detector=detector, answers=answers)
    predictor.check([question])
    regions = predictor.regions(picture, boxes_xyxy_px)
    unknown = unknown_words(predictor.processor.tokenizer, question)
    if unknown:
        typer.echo(_told_of_unknown_words(unknown, model), err=True)
    if len(regions) == 0:
        typer.echo(f"no object was found in {image}: the answer rests on the question alone", err=True)
    (best,) = predictor.answer(regions, [question], top_k=top_k)
    if as_json:
        names = predictor.names()
        told = {
            "image": image,
            "question": question,
            "model": model,
            "unknown_words": unknown,
            "answers": [{"answer": a.text, "probability": round(a.probability, 6)} for a in best],
            "extractor": regions.extractor,
            "objects": [in_words(regions, row, names).to_dict() for row in range(len(regions))],
        }
        typer.echo(json.dumps(told))
        return
    for answer in best:
        # The published VQA table holds the empty answer.
        typer.echo(f"{answer.text or repr('')}  ({answer.probability:.1%})")


def _told_of_unknown_words(words: list[str], model: str) -> str:
    note = f"note: the model was never taught {', '.join(map(repr, words))}, so its answer is a guess"
    if model == "scenes":
        note += "; it knows made pictures alone (for photographs: --model unc-nlp/lxmert-vqa-uncased)"
    return note

"""`lxmert ask`: one question about one picture."""

import json
from typing import Annotated

import typer

from lxmert.cli import asking


def ask(
    image: asking.ImageArgument,
    question: asking.QuestionArgument,
    model: asking.ModelOption = "scenes",
    boxes: asking.BoxesOption = None,
    detector: asking.DetectorOption = None,
    answers: asking.AnswersOption = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many answers to print, most probable first.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: answers, and the objects they rest on.")
    ] = False,
) -> None:
    """Answer a question about a picture."""
    opened = asking.open_for_question(
        image, question, model=model, boxes=boxes, detector=detector, answers=answers
    )
    predictor, regions = opened.predictor, opened.regions
    (best,) = predictor.answer(regions, [question], top_k=top_k)
    if as_json:
        from lxmert.inference.looking import in_words

        names = predictor.names()
        told = {
            "image": image,
            "question": question,
            "model": model,
            "unknown_words": opened.unknown_words,
            "answers": [{"answer": a.text, "probability": round(a.probability, 6)} for a in best],
            "extractor": regions.extractor,
            "objects": [in_words(regions, row, names).to_dict() for row in range(len(regions))],
        }
        typer.echo(json.dumps(told))
        return
    for answer in best:
        typer.echo(asking.answer_in_words(answer.text, answer.probability))

"""`lxmert ask`: questions about one picture, as an argument or line by line."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from lxmert.cli import asking
from lxmert.errors import InputError, TextError

if TYPE_CHECKING:
    from lxmert.answers import Answer

_PROMPT = "? "

# Some editors write it at the start of a file.
_BYTE_ORDER_MARK = "\ufeff"


def ask(
    image: asking.ImageArgument,
    question: Annotated[
        str | None,
        typer.Argument(
            help="The question, in quotes. If omitted, questions are read from standard input, one per line.",
            show_default=False,
        ),
    ] = None,
    model: asking.ModelOption = "scenes",
    boxes: asking.BoxesOption = None,
    detector: asking.DetectorOption = None,
    answers: asking.AnswersOption = None,
    top_k: Annotated[int, typer.Option(min=1, help="Number of answers to print, most probable first.")] = 1,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per question, with its answers and the objects."),
    ] = False,
) -> None:
    """Answer one or more questions about a picture."""
    opened = asking.open_picture(
        image, question, model=model, boxes=boxes, detector=detector, answers=answers
    )

    def answer_one(asked: str, *, is_repeated: bool) -> None:
        (best,) = opened.predictor.answer(opened.regions, [asked], top_k=top_k)
        unknown_words = opened.unknown_words(asked)
        if as_json:
            report = {"image": image, "question": asked, "model": model, "unknown_words": unknown_words}
            typer.echo(json.dumps(report | _details(best, opened)))
            return
        if is_repeated:
            typer.echo(asked)
        for answer in best:
            typer.echo(asking.answer_in_words(answer.text, answer.probability))

    if question is not None:
        answer_one(question, is_repeated=False)
    elif sys.stdin.isatty():
        typer.echo(
            f"{len(opened.regions)} objects found; enter one question per line, Ctrl-D to quit", err=True
        )
        for asked in filter(None, _typed_lines()):
            try:
                answer_one(asked, is_repeated=False)
            except TextError as fault:
                typer.echo(str(fault), err=True)
    else:
        number = 0
        for number, asked in _input_lines():
            try:
                answer_one(asked, is_repeated=True)
            except TextError as fault:
                raise InputError(f"line {number} of standard input: {fault}") from None
        if not number:
            raise InputError("no question was given, either on the command line or on standard input")


def _details(best: "Sequence[Answer]", opened: asking.Opened) -> dict[str, object]:
    from lxmert.inference.looking import in_words

    names = opened.predictor.names()
    return {
        "answers": [{"answer": item.text, "probability": round(item.probability, 6)} for item in best],
        "extractor": opened.regions.extractor,
        "objects": [in_words(opened.regions, row, names).to_dict() for row in range(len(opened.regions))],
    }


def _typed_lines() -> Iterator[str]:
    """Yield the lines typed at a terminal after the prompt, until the end of input."""
    with suppress(ImportError):  # Windows' terminals do this by themselves.
        import readline  # noqa: F401  (line editing and history)
    while True:
        # `input` would write the prompt among the answers if these go to a file.
        if not (is_shown := sys.stdout.isatty()):
            typer.echo(_PROMPT, nl=False, err=True)
        try:
            yield input(_PROMPT if is_shown else "").strip()
        except EOFError:
            typer.echo(err=True)
            return


def _input_lines() -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input that are not empty, with their numbers from 1."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # invalid text is reported later, with its line
    for number, line in enumerate(sys.stdin, start=1):
        if asked := line.removeprefix(_BYTE_ORDER_MARK).strip():
            yield number, asked

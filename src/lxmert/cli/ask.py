"""`lxmert ask`: questions about one picture, as an argument or line by line."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from lxmert.cli import image_session
from lxmert.errors import InputError, TextError

if TYPE_CHECKING:
    from lxmert.answers import Answer

_PROMPT = "? "
_NO_QUESTION = "no question was given, either on the command line or on standard input"

# Some editors write it at the start of a file.
_BYTE_ORDER_MARK = "\ufeff"


def ask(
    image: image_session.ImageArgument,
    question: Annotated[
        str | None,
        typer.Argument(
            help="The question, in quotes. If omitted, questions are read from standard input, one per line.",
            show_default=False,
        ),
    ] = None,
    model: image_session.ModelOption = "scenes",
    boxes: image_session.BoxesOption = None,
    detector: image_session.DetectorOption = None,
    answers: image_session.AnswersOption = None,
    top_k: Annotated[int, typer.Option(min=1, help="Number of answers to print, most probable first.")] = 1,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per question, with its answers and the objects."),
    ] = False,
) -> None:
    """Answer one or more questions about a picture."""
    if question is None and sys.stdin is None:
        raise InputError(_NO_QUESTION)
    session = image_session.open_session(
        image, question, model=model, boxes=boxes, detector=detector, answers=answers
    )

    def print_answers(text: str, *, echo_question: bool) -> None:
        (best,) = session.predictor.answer(session.regions, [text], top_k=top_k)
        unread = session.report_unread(text)
        if as_json:
            report = {"image": image, "question": text, "model": model}
            typer.echo(json.dumps(report | unread | _details(best, session)))
            return
        if echo_question:
            typer.echo(text)
        for answer in best:
            typer.echo(image_session.format_answer(answer.text, answer.probability))

    if question is not None:
        print_answers(question, echo_question=False)
    elif sys.stdin.isatty():
        typer.echo(
            f"{len(session.regions)} objects found; enter one question per line, Ctrl-D to quit", err=True
        )
        for text in filter(None, _interactive_lines()):
            try:
                print_answers(text, echo_question=False)
            except TextError as fault:
                typer.echo(str(fault), err=True)
    else:
        number = 0
        for number, text in _numbered_input_lines():
            try:
                print_answers(text, echo_question=True)
            except TextError as fault:
                raise InputError(f"line {number} of standard input: {fault}") from None
        if not number:
            raise InputError(_NO_QUESTION)


def _details(best: "Sequence[Answer]", session: image_session.ImageSession) -> dict[str, object]:
    from lxmert.inference.object_detection import describe_object

    names = session.predictor.names()
    return {
        "answers": [{"answer": item.text, "probability": round(item.probability, 6)} for item in best],
        "extractor": session.regions.extractor,
        "objects": [
            describe_object(session.regions, row, names).to_dict() for row in range(len(session.regions))
        ],
    }


def _interactive_lines() -> Iterator[str]:
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


def _numbered_input_lines() -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input that are not empty, with their numbers from 1."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # invalid text is reported later, with its line
    for number, line in enumerate(sys.stdin, start=1):
        if text := line.removeprefix(_BYTE_ORDER_MARK).strip():
            yield number, text

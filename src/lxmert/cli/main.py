"""`lxmert`: the verbs in one place, and one rule for errors.

An error is printed as one line and ends with exit status 1; `--debug`, anywhere on the line, shows the
traceback instead. One that lxmert did not foresee says so.
"""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

import typer

from lxmert._version import __version__
from lxmert.cli import (
    answers,
    ask,
    convert,
    demo,
    eval_detector,
    evaluate,
    export,
    extract,
    features,
    finetune,
    look,
    predict,
    pretrain,
    scenes,
    score,
    train_detector,
    validate_submission,
)
from lxmert.errors import LxmertError

app = typer.Typer(
    name="lxmert",
    help="Ask questions about pictures; train, evaluate and convert LXMERT models.",
    epilog="Add --debug to any command to see the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Brackets in help texts are meant: rich would take [x1, y1, x2, y2] for markup and drop it.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("ask")(ask.ask)
app.command("look")(look.look)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("pretrain")(pretrain.pretrain)
app.command("finetune")(finetune.finetune)
app.command("train-detector")(train_detector.train_detector)
app.command("eval-detector")(eval_detector.eval_detector)
app.add_typer(score.app, name="score")
app.command("validate-submission")(validate_submission.validate_submission)
app.command("extract")(extract.extract)
app.command("export")(export.export)
app.command("convert")(convert.convert)
app.add_typer(answers.app, name="answers")
app.add_typer(features.app, name="features")
app.add_typer(scenes.app, name="scenes")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lxmert {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Ask questions about pictures; train, evaluate and convert LXMERT models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    0: done, 1: an error, 2: wrong usage, 3: done, but some images or rows could not be used.

    Args:
        arguments: the words after `lxmert`; those of the process when None.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A sign that the output's encoding lacks, such as a tick, must not end the work.
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="lxmert")
    except (LxmertError, OSError) as error:
        if debug:
            raise
        _fail(str(error))
    except Exception as error:
        if debug:
            raise
        _fail(f"unforeseen {type(error).__name__}: {error} (run it again with --debug to see where)")


def _fail(message: str) -> NoReturn:
    typer.echo(f"lxmert: error: {' '.join(message.split())}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()

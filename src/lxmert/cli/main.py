"""`lxmert`: all verbs, and the handling of errors.

An error is printed as one line and the exit status is 1; `--debug`, anywhere on the line, shows the traceback
instead. Unforeseen errors are reported as such.
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
    explain,
    export,
    extract,
    features,
    finetune,
    look,
    predict,
    pretrain,
    recipes,
    scenes,
    score,
    serve,
    train_detector,
    validate_submission,
)
from lxmert.cli.interrupts import sigterm_as_interrupt
from lxmert.errors import LxmertError, one_line

app = typer.Typer(
    name="lxmert",
    help="Ask questions about pictures; train, evaluate and convert LXMERT models.",
    epilog="Add --debug to any command to see the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Brackets in help texts are literal: rich would take [x1, y1, x2, y2] for markup and drop it.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Each fits a line of the list of verbs; longer ones would be truncated there.
app.command("demo", short_help="Draw new pictures and ask about them.")(demo.demo)
app.command("ask", short_help="Answer a question about a picture.")(ask.ask)
app.command("explain", short_help="Show which words and objects an answer rests on.")(explain.explain)
app.command("look", short_help="Show the objects found in a picture.")(look.look)
app.command("serve", short_help="Ask about pictures on a web page.")(serve.serve)
app.command("eval", short_help="Evaluate a model on VQA, GQA or NLVR2.")(evaluate.evaluate)
app.command("predict", short_help="Write a submission file for a leaderboard.")(predict.predict)
app.command("pretrain", short_help="Pre-train a model from a recipe.")(pretrain.pretrain)
app.command("finetune", short_help="Fine-tune a model for VQA, GQA or NLVR2.")(finetune.finetune)
app.command("train-detector", short_help="Train an object detector from a recipe.")(
    train_detector.train_detector
)
app.command("recipes", short_help="List the included recipes, or print one to change.")(recipes.recipes)
app.command("eval-detector", short_help="Evaluate an object detector.")(eval_detector.eval_detector)
app.command("validate-submission", short_help="Check a submission file for errors.")(
    validate_submission.validate_submission
)
app.command("extract", short_help="Write the objects of images to a feature store.")(extract.extract)
app.command("export", short_help="Export a model to ONNX Runtime or torch.export.")(export.export)
app.command("convert", short_help="Convert checkpoints from and to the authors' format.")(convert.convert)
app.add_typer(score.app, name="score", short_help="Score a submission file.")
app.add_typer(answers.app, name="answers", short_help="Build answer lists and measure their coverage.")
app.add_typer(features.app, name="features", short_help="Inspect, check, import and export feature stores.")
app.add_typer(scenes.app, name="scenes", short_help="Generate a synthetic data set.")


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


@sigterm_as_interrupt()
def main(arguments: Sequence[str] | None = None, program: str = "lxmert") -> None:
    """Run the command line and exit with its status.

    0: done, 1: an error, 2: wrong usage, 3: done, but some images or rows could not be used, 130: ended by
    Ctrl-C, 143: ended by SIGTERM.

    Args:
        arguments: the words after the program's name; None for those of the process.
        program: name of the program in the help.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A character that the output's encoding lacks, such as a tick, must not stop the work.
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name=program)
    except (LxmertError, OSError) as error:
        if debug:
            raise
        _fail(_error_text(error))
    except Exception as error:
        if debug:
            raise
        _fail(f"unexpected {type(error).__name__}: {error} (run it again with --debug to see the traceback)")


def _error_text(error: LxmertError | OSError) -> str:
    """Return the error's text; for a system error the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(message: str) -> NoReturn:
    typer.echo(f"lxmert: error: {one_line(' '.join(message.split()))}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()

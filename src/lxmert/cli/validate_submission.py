"""`lxmert validate-submission`: check whether a leaderboard will accept a prediction file."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from lxmert.cli.common_options import JsonOption


def validate_submission(
    task: Annotated[
        Literal["vqa", "gqa", "nlvr2"], typer.Argument(help="Task whose format the file should have.")
    ],
    file: Annotated[Path, typer.Argument(help="Prediction file.", show_default=False)],
    questions: Annotated[
        Path,
        typer.Option(
            "--questions",
            "-q",
            help="File with the questions that must each be answered once: the official file or, for vqa, "
            "your own .jsonl file.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a prediction file before submission: types, missing, unknown and repeated ids, and more.

    Every kind of fault is listed with its count and first occurrences. Exit status 1 if there are any.
    """
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.data.question_ids import question_ids
    from lxmert.data.submissions import check_submission, submission_format

    with reading_progress(enabled=not as_json) as progress:
        wanted = question_ids(task, questions, progress=progress)
        check = check_submission(submission_format(task, questions), file, wanted, progress=progress)
    if as_json:
        typer.echo(json.dumps({"task": task, **check.to_dict()}, indent=2))
    else:
        for fault in check.faults:
            typer.echo(f"fault: {fault}", err=True)
        typer.echo(
            f"{file}: {'not valid' if check.faults else 'valid'}; predictions: {check.rows:,}, expected: "
            f"{check.expected:,} (one for each question of {questions})"
        )
    if check.faults:
        raise typer.Exit(1)

"""How `lxmert score` treats the faults of a prediction file and prints the scores."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lxmert.data.submission_faults import UNUSABLE, Fault, FaultKind
from lxmert.data.submissions import Submission, compare_ids
from lxmert.errors import DataError

if TYPE_CHECKING:
    from lxmert.training.tasks import Scores

# How rows with faults are scored.
_CONSEQUENCES = {
    FaultKind.BYTE_ORDER_MARK: "ignored; the official evaluator would stop there",
    FaultKind.DUPLICATE: "the last row counts, as in the official evaluator",
    FaultKind.MISSING: "counted as wrong",
    FaultKind.UNKNOWN: "ignored",
    FaultKind.EMPTY_ANSWER: "compared as they are",
    FaultKind.PADDED_ANSWER: "compared as they are, as in the official evaluator",
    FaultKind.NEITHER_TRUE_NOR_FALSE: "counted as wrong, as in the official evaluator",
    FaultKind.BLANK_LINE: "ignored; the official evaluator would stop there",
    FaultKind.SURPLUS_FIELD: "only the first two fields count, as in the official evaluator",
}


def ids_to_score(
    scored: Iterable[Any],
    known: Collection[Any],
    chosen: Collection[Any] | None,
    questions: Path | None,
    annotations: Path,
) -> dict[Any, None]:
    """Return the ids to score, in order: those that the annotations score, limited to the chosen ones.

    Args:
        scored: Ids that the annotations score.
        known: All ids of the annotations.
        chosen: Ids of the questions file; None without one.
        questions: The questions file, for messages.
        annotations: The annotations file, for messages.

    Raises:
        DataError: A chosen question is not annotated.
    """
    if chosen is None:
        return dict.fromkeys(scored)
    missing = [identifier for identifier in chosen if identifier not in known]
    if missing:
        raise DataError(
            f"{questions}: {len(missing):,} of {len(chosen):,} questions are not in {annotations}, "
            f"starting with {missing[0]}; the two files do not belong together"
        )
    allowed = set(chosen)
    return dict.fromkeys(identifier for identifier in scored if identifier in allowed)


def require_scorable(
    path: Path,
    submission: Submission,
    wanted: Collection[Any],
    known: Collection[Any],
    *,
    allow_missing: bool,
    allow_unknown: bool = True,
) -> list[Fault]:
    """Reject predictions that cannot be scored, and return the faults of those that can.

    Raises:
        DataError: A row cannot be used, or a prediction is missing or unknown and that is not allowed.
    """
    unusable = [str(fault) for fault in submission.faults if fault.kind in UNUSABLE]
    if unusable:
        raise DataError(
            f"{path}: {'; '.join(unusable)}; correct these rows (`lxmert validate-submission` lists them)"
        )
    faults = compare_ids(submission.predictions, wanted, known)
    for fault in faults:
        if fault.kind is FaultKind.MISSING and not allow_missing:
            raise DataError(
                f"{path}: {fault}; predict all {len(wanted):,} questions, or use --allow-missing to count "
                "these as wrong"
            )
        if fault.kind is FaultKind.UNKNOWN and not allow_unknown:
            raise DataError(
                f"{path}: {fault}; the official evaluator rejects them; use --ignore-unknown to ignore them"
            )
    return [*submission.faults, *faults]


def report_scores(
    path: Path,
    submission: Submission,
    faults: Collection[Fault],
    scores: "Scores",
    facts: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Print scores as a table with the faults as notes, or everything as JSON.

    Args:
        path: The prediction file.
        submission: Its contents.
        faults: Its faults.
        scores: The figures.
        facts: Further entries of the JSON object, the task first.
        as_json: Whether to print one JSON object.
    """
    if as_json:
        report = facts | scores.to_dict()
        report |= {"rows": submission.rows, "faults": [fault.to_dict() for fault in faults]}
        typer.echo(json.dumps(report, indent=2))
        return
    from rich.console import Console

    from lxmert.cli.score_tables import score_table

    Console(highlight=False).print(score_table(f"{path}: {submission.rows:,} predictions", scores))
    for fault in faults:
        typer.echo(f"note: {fault}; {_CONSEQUENCES[fault.kind]}", err=True)

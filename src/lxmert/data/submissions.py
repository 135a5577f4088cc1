"""Prediction files in the leaderboards' formats: writing, reading, checking.

Source: the leaderboards' formats. VQA: JSON list of {"question_id": int, "answer": str}. GQA: JSON list of
{"questionId": str, "prediction": str}. NLVR2: lines "identifier,True" or "identifier,False" without a header.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from lxmert.atomic_files import open_atomic
from lxmert.data.json_files import unreadable_file_error
from lxmert.data.json_stream import stream_json
from lxmert.data.jsonl import is_jsonl_path
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.submission_faults import Fault, FaultCounter, FaultKind, format_id
from lxmert.errors import DataError, short_repr

SubmissionTask = Literal["vqa", "gqa", "nlvr2", "own"]
"""The task whose format a file has; "own" is VQA's with ids that may be strings, for the user's own data."""

# An id and its answer; None for an unusable row.
_Row = tuple[Any, str] | None


@dataclass(frozen=True)
class Submission:
    """The contents of a prediction file.

    Attributes:
        predictions: Answer by id; of rows with the same id the last counts, as in the official evaluators.
        rows: Number of rows in the file.
        faults: Faults of the rows.
    """

    predictions: Mapping[Any, str]
    rows: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class SubmissionCheck:
    """The result of checking a prediction file as a leaderboard would.

    Attributes:
        rows: Number of rows.
        expected: Expected number of rows, one for each question.
        faults: All faults; empty for a file that the leaderboard accepts.
    """

    rows: int
    expected: int
    faults: tuple[Fault, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "valid": not self.faults,
            "rows": self.rows,
            "expected": self.expected,
            "faults": [fault.to_dict() for fault in self.faults],
        }


@dataclass(frozen=True)
class _JsonFormat:
    id_key: str
    id_types: tuple[type, ...]
    answer_key: str


_JSON_FORMATS = {
    "vqa": _JsonFormat("question_id", (int,), "answer"),
    "gqa": _JsonFormat("questionId", (str,), "prediction"),
    "own": _JsonFormat("question_id", (int, str), "answer"),
}

_TYPE_NAMES = {int: "an integer", str: "a string"}


def submission_format(task: SubmissionTask, questions: str | Path) -> SubmissionTask:
    """The format of predictions for a questions file: the task's, or "own" for the user's own data."""
    return "own" if task == "vqa" and is_jsonl_path(questions) else task


def write_vqa_submission(path: str | Path, predictions: Mapping[int, str]) -> None:
    """Write VQA predictions, question id to answer, in the form of the original code, byte for byte.

    Raises:
        DataError: An id or an answer is of a wrong type, or the file cannot be written.
    """
    _write(path, _json_text(path, _JSON_FORMATS["vqa"], predictions))


def write_jsonl_submission(path: str | Path, predictions: Mapping[str | int, str]) -> None:
    """Write predictions for the user's own questions in VQA's form, with ids of either type.

    Raises:
        DataError: An id or an answer is of a wrong type, or the file cannot be written.
    """
    _write(path, _json_text(path, _JSON_FORMATS["own"], predictions))


def write_gqa_submission(path: str | Path, predictions: Mapping[str, str]) -> None:
    """Write GQA predictions, question id to answer, in the form of the original code, byte for byte.

    Raises:
        DataError: An id or an answer is of a wrong type, or the file cannot be written.
    """
    _write(path, _json_text(path, _JSON_FORMATS["gqa"], predictions))


def write_nlvr2_submission(path: str | Path, predictions: Mapping[str, bool]) -> None:
    """Write NLVR2 predictions, identifier to True or False, one a line.

    Raises:
        DataError: An identifier or a prediction is of a wrong type, or the file cannot be written.
    """
    _write(path, _csv_text(path, predictions))


def read_submission(
    task: SubmissionTask, path: str | Path, *, progress: StartProgress = no_progress
) -> Submission:
    """Read a prediction file, collecting the faults of single rows.

    Args:
        task: The task whose format it has: ids are int for VQA, either type for "own", str for the others.
        path: The file.
        progress: Shows how much of it has been read.

    Raises:
        DataError: The file is missing, not text, not JSON, or not a list.
    """
    counter = FaultCounter()
    if _has_byte_order_mark(Path(path)):
        counter.add(FaultKind.BYTE_ORDER_MARK, "U+FEFF")
    if task == "nlvr2":
        file_rows = _csv_rows(path, counter)
    else:
        file_rows = _json_rows(path, _JSON_FORMATS[task], counter, progress)
    predictions: dict[Any, str] = {}
    rows = 0
    for row in file_rows:
        rows += 1
        if row is None:
            continue
        identifier, answer = row
        if identifier in predictions:
            counter.add(FaultKind.DUPLICATE, format_id(identifier))
        predictions[identifier] = answer
        _check_answer(task, identifier, answer, counter)
    return Submission(predictions, rows, counter.faults())


def check_submission(
    task: SubmissionTask,
    path: str | Path,
    questions: Collection[Hashable],
    *,
    progress: StartProgress = no_progress,
) -> SubmissionCheck:
    """Find all faults of a prediction file.

    Args:
        task: The task whose format it should have.
        path: The file.
        questions: The ids it must answer, each once.
        progress: Shows how much of the file has been read.
    """
    try:
        submission = read_submission(task, path, progress=progress)
    except DataError as error:
        return SubmissionCheck(0, len(questions), (Fault(FaultKind.UNREADABLE, 1, (str(error),)),))
    faults = (*submission.faults, *compare_ids(submission.predictions, questions))
    return SubmissionCheck(submission.rows, len(questions), faults)


def compare_ids(
    predicted: Mapping[Any, str],
    questions: Collection[Hashable],
    known: Collection[Hashable] | None = None,
) -> list[Fault]:
    """Find questions without a prediction, and predictions without a question.

    Args:
        predicted: The predictions by id.
        questions: The ids that need a prediction.
        known: The ids that may have one; `questions` when None.
    """
    counter = FaultCounter()
    allowed = set(questions if known is None else known)
    for identifier in questions:
        if identifier not in predicted:
            counter.add(FaultKind.MISSING, format_id(identifier))
    for identifier in predicted:
        if identifier not in allowed:
            counter.add(FaultKind.UNKNOWN, format_id(identifier))
    return list(counter.faults())


def _json_rows(
    path: str | Path, json_format: _JsonFormat, counter: FaultCounter, progress: StartProgress
) -> Iterator[_Row]:
    for number, (place, row) in enumerate(stream_json(path, progress=progress)):
        if place != f"[{number}]":
            raise DataError(
                f'{path}: contains one JSON object, expected a list of {{"{json_format.id_key}": ..., '
                f'"{json_format.answer_key}": ...}}'
            )
        yield _json_row(row, place, json_format, counter)


def _json_row(row: Any, place: str, json_format: _JsonFormat, counter: FaultCounter) -> _Row:
    if not isinstance(row, dict):
        counter.add(FaultKind.MALFORMED, f"{place} is {short_repr(row)}")
        return None
    missing = [key for key in (json_format.id_key, json_format.answer_key) if key not in row]
    if missing:
        counter.add(FaultKind.MALFORMED, f"{place} lacks {' and '.join(missing)}")
        return None
    identifier, answer = row[json_format.id_key], row[json_format.answer_key]
    if type(identifier) not in json_format.id_types:
        expected = " or ".join(_TYPE_NAMES[kind] for kind in json_format.id_types)
        counter.add(FaultKind.ID_TYPE, f"{place} {short_repr(identifier)} instead of {expected}")
        return None
    if not isinstance(answer, str):
        counter.add(
            FaultKind.ANSWER_TYPE, f"{format_id(identifier)} {short_repr(answer)} instead of a string"
        )
        return None
    return identifier, answer


def _csv_text(path: str | Path, predictions: Mapping[str, bool]) -> Iterator[str]:
    for identifier, truth in predictions.items():
        if not isinstance(truth, bool):
            raise DataError(
                f"{path}: the prediction for {identifier} is {short_repr(truth)}, expected a bool"
            )
        if not isinstance(identifier, str) or "," in identifier or identifier.split() != [identifier]:
            raise DataError(
                f"{path}: the identifier {short_repr(identifier)} cannot be written in a line; expected a "
                "string without commas and white space"
            )
        yield f"{identifier},{truth}\n"


def _csv_rows(path: str | Path, counter: FaultCounter) -> Iterator[_Row]:
    """Split as the official script does: the line is stripped, its fields are not."""
    with _open_text(path) as file:
        for number, line in enumerate(file, 1):
            fields = line.strip().split(",")
            if len(fields) > 2:
                counter.add(FaultKind.SURPLUS_FIELD, f"line {number} {short_repr(line.strip())}")
            if fields == [""]:
                counter.add(FaultKind.BLANK_LINE, f"line {number}")
            elif len(fields) == 1:
                counter.add(FaultKind.MALFORMED, f"line {number} {short_repr(fields[0])} has no comma")
                yield None
            else:
                yield fields[0], fields[1]


def _check_answer(task: SubmissionTask, identifier: object, answer: str, counter: FaultCounter) -> None:
    if task == "nlvr2":
        if answer.lower() not in ("true", "false"):
            counter.add(FaultKind.NEITHER_TRUE_NOR_FALSE, f"{format_id(identifier)} {short_repr(answer)}")
    elif not answer.strip():
        counter.add(FaultKind.EMPTY_ANSWER, format_id(identifier))
    elif task == "gqa" and answer != answer.strip():  # VQA's evaluator strips, GQA's compares as it is
        counter.add(FaultKind.PADDED_ANSWER, f"{format_id(identifier)} {short_repr(answer)}")


def _json_text(path: str | Path, json_format: _JsonFormat, predictions: Mapping[Any, str]) -> Iterable[str]:
    """The text of json.dumps(rows, indent=4, sort_keys=True), row by row: GQA's files have millions."""
    opening = "["
    for identifier, answer in predictions.items():
        if type(identifier) not in json_format.id_types:
            kinds = " or ".join(kind.__name__ for kind in json_format.id_types)
            raise DataError(f"{path}: the id {short_repr(identifier)} is not of type {kinds}")
        if not isinstance(answer, str):
            raise DataError(
                f"{path}: the answer to {format_id(identifier)} is {short_repr(answer)}, expected a string"
            )
        fields = sorted({json_format.id_key: identifier, json_format.answer_key: answer}.items())
        lines = ",\n".join(f"        {json.dumps(key)}: {json.dumps(value)}" for key, value in fields)
        yield f"{opening}\n    {{\n{lines}\n    }}"
        opening = ","
    yield "[]" if opening == "[" else "\n]"


def _has_byte_order_mark(path: Path) -> bool:
    if not path.is_file():  # A pipe can be read only once.
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(BOM_UTF8)) == BOM_UTF8
    except OSError:  # Reading the rows reports why.
        return False


@contextmanager
def _open_text(path: str | Path) -> Iterator[IO[str]]:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            yield file
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_file_error(path, error) from None


def _write(path: str | Path, pieces: Iterable[str]) -> None:
    try:
        with open_atomic(path) as file:
            file.writelines(piece.encode() for piece in pieces)
    except OSError as error:
        raise DataError(f"{path}: the predictions cannot be written ({error.strerror or error})") from error

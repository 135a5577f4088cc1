"""Reader of questions with scored answers in the user's own data (see `jsonl`), to train and score on."""

from pathlib import Path

from lxmert.data.json_stream import stream_jsonl
from lxmert.data.jsonl import jsonl_prediction_id, parse_jsonl_record
from lxmert.data.labels import LabelInterner, LabelledQuestion
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError


def read_jsonl_questions(
    path: str | Path, *, annotated: bool = True, progress: StartProgress = no_progress
) -> list[LabelledQuestion]:
    """Read questions in the file's order.

    Args:
        path: The file.
        annotated: True requires non-empty answers to each question; False accepts questions without.
        progress: Shows how much of it has been read.

    Returns:
        Questions with the ids of their lines; the id of a line without one is the file's name and the
        question's number in it, such as "val-3".

    Raises:
        DataError: The file is missing, a line is malformed, about two images or, if annotated, without
            answers or with an empty one, or an id occurs twice; the message names file and line.
    """
    labels = LabelInterner()
    questions: dict[str | int, LabelledQuestion] = {}
    for record in stream_jsonl(path, progress=progress):
        for example in parse_jsonl_record(record, labels):
            identifier = jsonl_prediction_id(example, path, len(questions) + 1)
            if identifier in questions:
                raise DataError(
                    f"{path}: {record.at('id')} {identifier!r} occurs twice; each question needs its own"
                )
            if len(example.images) != 1:
                raise DataError(f"{path}: {record.at('image')} names two images, expected one")
            if annotated and example.answers is None:
                raise DataError(f"{path}: {record.location} has neither answer nor answers")
            if annotated and any(not answer.strip() for answer in example.answers or ()):
                raise DataError(f"{path}: {record.location} has an empty answer; fill it in, or remove it")
            questions[identifier] = LabelledQuestion(
                identifier, example.image, example.sentence, example.answers
            )
    return list(questions.values())

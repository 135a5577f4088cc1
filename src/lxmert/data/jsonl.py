"""Reader of the user's own data: a text file with one JSON object a line.

Each object has
    image     name of the image, or two of them in a list, left and right
    sentence  a string; or sentences, a list of strings
and may have
    answer    a string: the correct answer
    answers   {answer: score}, or a list of strings, one per person asked
    label     true or false: whether the sentence is true
    id        a string or a whole number
A field of any other name is an error, unless its name begins with "_", which marks a comment. Fine-tuning
reads the lines as questions (`labelled_split`) or as sentences about pairs (`nlvr2`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lxmert.data.json_files import JsonRecord, describe
from lxmert.data.json_stream import stream_jsonl
from lxmert.data.labels import Label, LabelInterner, annotator_score
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError

_FIELDS = ("image", "sentence", "sentences", "answer", "answers", "label", "id")

NO_JSONL_FOR_GQA = "your own questions (.jsonl) belong to the task vqa; use vqa instead of gqa"
"""Error message for such a file given as questions of GQA."""

# VQA asked ten annotators; answers of another number of annotators are scored as if there had been ten.
_ANNOTATORS = 10


@dataclass(frozen=True, slots=True)
class JsonlExample:
    """One sentence about one or two images.

    Attributes:
        images: Names of its images, one, or two in the order left, right.
        sentence: The sentence as written.
        answers: A question's answers and their scores; None for a sentence without answers.
        label: Whether the sentence is true; None if the line does not say.
        identifier: The line's id, shared by all its sentences; None if it has none.
    """

    images: tuple[str, ...]
    sentence: str
    answers: Label | None = None
    label: bool | None = None
    identifier: str | int | None = None

    @property
    def image(self) -> str:
        """The first image's name."""
        return self.images[0]


def read_jsonl(path: str | Path, *, progress: StartProgress = no_progress) -> list[JsonlExample]:
    """Read the user's own data, one value per sentence, in the file's order.

    Raises:
        DataError: The file is missing, or a line is malformed; the message names file and line.
    """
    labels = LabelInterner()
    return [
        example
        for record in stream_jsonl(path, progress=progress)
        for example in parse_jsonl_record(record, labels)
    ]


def is_jsonl_path(path: str | Path) -> bool:
    """Whether a questions file is in this format, by its extension, which no data set's files have."""
    return str(path).lower().endswith(".jsonl")


def parse_jsonl_record(record: JsonRecord, labels: LabelInterner) -> list[JsonlExample]:
    """Parse one line, one value per sentence.

    Raises:
        DataError: The line is malformed.
    """
    for field in record.value:
        if field not in _FIELDS and not field.startswith("_"):
            raise DataError(
                f"{record.path}: {record.at(field)} is not a known field; expected one of "
                f"{', '.join(_FIELDS)}"
            )
    images = tuple(map(labels.intern_string, _images(record)))
    answers = _answers(record, labels)
    label = record.optional("label", bool)
    identifier = record.value.get("id")
    if identifier is not None and (isinstance(identifier, bool) or not isinstance(identifier, str | int)):
        raise DataError(
            f"{record.path}: {record.at('id')} is {describe(identifier)}, expected a string or a whole number"
        )
    return [JsonlExample(images, sentence, answers, label, identifier) for sentence in _sentences(record)]


def jsonl_prediction_id(example: JsonlExample, path: str | Path, number: int) -> str | int:
    """The id of a sentence's prediction: its line's id, else the file's name and the sentence's number.

    Args:
        example: The sentence.
        path: The file.
        number: The sentence's number in it, from 1.
    """
    if example.identifier is not None:
        return example.identifier
    # Identifiers in a submission's lines contain neither white space nor commas.
    return "_".join(Path(path).stem.replace(",", " ").split()) + f"-{number}"


def _images(record: JsonRecord) -> Sequence[str]:
    value = record.value.get("image")
    names = record.strings("image") if isinstance(value, list) else (record.get("image", str),)
    if len(names) not in (1, 2) or not all(names):
        raise DataError(
            f"{record.path}: {record.at('image')} is {describe(value)}, expected a name or a list of two"
        )
    return names


def _sentences(record: JsonRecord) -> Sequence[str]:
    if ("sentence" in record.value) == ("sentences" in record.value):
        raise DataError(f"{record.path}: {record.location} must have either sentence or sentences")
    if "sentence" in record.value:
        return (record.sentence("sentence"),)
    return record.sentences("sentences")


def _answers(record: JsonRecord, labels: LabelInterner) -> Label | None:
    if record.value.get("answer") is not None:
        if record.value.get("answers") is not None:
            raise DataError(
                f"{record.path}: {record.location} has both answer and answers; expected one of them"
            )
        return labels.intern({record.get("answer", str): 1.0})
    value = record.value.get("answers")
    if value is None:
        return None
    if isinstance(value, list):
        texts = record.strings("answers")
        return labels.intern({answer: _score(count, len(texts)) for answer, count in Counter(texts).items()})
    return labels.read(record, "answers")


def _score(count: int, annotators: int) -> float:
    """The soft score of an answer that `count` of `annotators` gave."""
    return annotator_score(max(1, round(_ANNOTATORS * count / annotators)))

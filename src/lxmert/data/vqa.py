"""Reader of the official VQA v2 question and annotation files.

Source: the files' own format (visualqa.org): questions `{"questions": [{image_id, question,
question_id}]}`, annotations `{"annotations": [{question_id, image_id, question_type, answer_type,
multiple_choice_answer, answers: [{answer_id, answer, ...}]}]}`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lxmert.data.examples import Examples
from lxmert.data.interning import StringInterner, gc_disabled
from lxmert.data.json_files import JsonRecord
from lxmert.data.json_stream import stream_lists
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError

# Image id of an annotation that does not name its image.
_NO_IMAGE = 0


@dataclass(frozen=True, slots=True)
class VqaExample:
    """One question about one image, with its answers if they are known.

    Attributes:
        question_id: Unique in its file.
        image_id: The image's id.
        question: The question as written.
        question_type: The question's family, such as "how many"; None in a file without annotations.
        answer_type: "yes/no", "number" or "other"; None in a file without annotations.
        answers: The raw answers, one per annotator (ten in VQA v2); empty without annotations.
        multiple_choice_answer: The most frequent answer; None without annotations.
        annotators: Who gave each answer, as long as `answers`. The official metric lets answers of equal text
            and annotator cancel each other; empty means that all annotators differ.
    """

    question_id: int
    image_id: int
    question: str
    question_type: str | None = None
    answer_type: str | None = None
    answers: tuple[str, ...] = ()
    multiple_choice_answer: str | None = None
    annotators: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class VqaData(Examples[VqaExample]):
    """The examples of one questions file, in its order.

    Attributes:
        examples: The examples.
        data_type: The file's name for the source of its images, such as "mscoco".
        data_subtype: The split's name in the file, such as "train2014".
    """

    data_type: str | None = None
    data_subtype: str | None = None

    @property
    def image_ids(self) -> list[int]:
        """The ids of the images asked about, each once, in order of appearance."""
        return list(dict.fromkeys(example.image_id for example in self.examples))


@gc_disabled()
def read_vqa(
    questions: str | Path,
    annotations: str | Path | None = None,
    *,
    progress: StartProgress = no_progress,
) -> VqaData:
    """Read a questions file and, if given, the annotations file that belongs to it.

    Args:
        questions: Path of the questions file.
        annotations: Path of the annotations file; None for a split without answers.
        progress: Shows how much of each file has been read.

    Raises:
        DataError: A file is missing or malformed, a question id occurs twice, or the two files do not hold
            the same questions. The message names file and place.
    """
    if annotations is not None and Path(questions).is_file() and not Path(annotations).exists():
        raise DataError(
            f"{annotations}: no such file; check the data directory, the split and the file names (your "
            "own questions are stored together with their answers, in a file that ends in .jsonl)"
        )
    annotated = None if annotations is None else _annotations_by_question(annotations, progress)
    examples: dict[int, VqaExample] = {}
    header: dict[str, str | None] = {}
    for field, value in stream_lists(questions, ("questions",), progress=progress):
        if field == "questions":
            question_id = value.new_id("question_id", examples)
            examples[question_id] = _join_annotation(value, annotated, annotations)
        elif field in ("data_type", "data_subtype"):
            header[field] = JsonRecord({field: value}, questions).optional(field, str)
    if annotated:
        raise DataError(
            f"{annotations}: {len(annotated)} annotations have no question in {questions}, starting with "
            f"question {min(annotated)}; the two files do not belong together"
        )
    return VqaData(tuple(examples.values()), **header)


@gc_disabled()
def read_vqa_annotations(
    path: str | Path, *, progress: StartProgress = no_progress
) -> tuple[VqaExample, ...]:
    """Read an annotations file alone: all that scoring needs.

    Args:
        path: Path of the annotations file.
        progress: Shows how much of it has been read.

    Returns:
        Examples in the file's order. Their questions are empty, and so is every field that the file lacks
        (`image_id` is then 0).

    Raises:
        DataError: The file is missing or malformed, or a question id occurs twice.
    """
    examples = tuple(_annotations_by_question(path, progress).values())
    if not examples:
        raise DataError(f"{path}: annotations is empty; expected annotations in VQA v2's format")
    return examples


def _annotations_by_question(path: str | Path, progress: StartProgress) -> dict[int, VqaExample]:
    """Read an annotations file into examples by question id; their questions are empty."""
    intern = StringInterner()
    examples: dict[int, VqaExample] = {}
    for field, value in stream_lists(path, ("annotations",), progress=progress):
        if field != "annotations":
            continue
        example = _parse_annotation(value, intern)
        if example.question_id in examples:
            raise DataError(f"{path}: {value.at('question_id')} {example.question_id} occurs twice")
        examples[example.question_id] = example
    return examples


def _join_annotation(
    record: JsonRecord, annotations_by_id: dict[int, VqaExample] | None, annotations: str | Path | None
) -> VqaExample:
    """Join an entry of a questions file with its annotation, if there are annotations, and remove that."""
    question_id = record.get("question_id", int)
    image_id = record.get("image_id", int)
    question = record.sentence("question")
    if annotations_by_id is None:
        return VqaExample(question_id, image_id, question)
    # Only one of the two, so that the annotations are not in memory twice.
    annotated = annotations_by_id.pop(question_id, None)
    if annotated is None:
        raise DataError(f"{annotations}: no annotation for question {question_id} of {record.path}")
    if annotated.image_id not in (image_id, _NO_IMAGE):
        raise DataError(
            f"{annotations}: question {question_id} is about image {annotated.image_id}, but in "
            f"{record.path} about image {image_id}"
        )
    return replace(annotated, image_id=image_id, question=question)


def _parse_annotation(record: JsonRecord, intern: StringInterner) -> VqaExample:
    """The example of one entry of an annotations file."""
    answers = _answers(record)
    return VqaExample(
        record.get("question_id", int),
        record.optional("image_id", int) or _NO_IMAGE,
        "",
        intern.optional(record.optional("question_type", str)),
        intern.optional(record.optional("answer_type", str)),
        intern.interned_tuple(tuple(answer["answer"] for answer in answers)),
        intern.optional(record.optional("multiple_choice_answer", str)),
        _annotators(answers),
    )


def _answers(record: JsonRecord) -> list[dict[str, Any]]:
    """The annotators' answers, checked all at once: among millions, hardly any is malformed."""
    answers = record.get("answers", list)
    if not answers:
        raise DataError(f"{record.path}: {record.at('answers')} is empty, expected at least one answer")
    if not all(type(answer) is dict and type(answer.get("answer")) is str for answer in answers):
        for answer in record.records("answers"):
            answer.get("answer", str)  # names the malformed one in its error
    return answers


def _annotators(answers: list[dict[str, Any]]) -> tuple[str, ...]:
    """All other fields of the answers, as text, because the official metric compares whole records.

    Usually all answers differ, if only in their `answer_id`; then nothing needs to be kept.
    """
    if len({repr(answer.get("answer_id")) for answer in answers}) == len(answers):
        return ()
    other_fields = [
        repr(sorted((key, value) for key, value in answer.items() if key != "answer")) for answer in answers
    ]
    return () if len(set(other_fields)) == len(other_fields) else tuple(other_fields)

"""Reader of the official VQA v2 question and annotation files.

Source: the files' own format (visualqa.org): questions `{"questions": [{image_id, question,
question_id}]}`, annotations `{"annotations": [{question_id, image_id, question_type, answer_type,
multiple_choice_answer, answers: [{answer_id, answer, ...}]}]}`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from lxmert.data.json_files import Record, read_json
from lxmert.errors import DataError


@dataclass(frozen=True, slots=True)
class VqaExample:
    """One question about one image, with its answers where they are known.

    Attributes:
        question_id: Unique in its file.
        image_id: The image's id.
        question: The question as written.
        question_type: The question's family, such as "how many"; None in a file without annotations.
        answer_type: "yes/no", "number" or "other"; None in a file without annotations.
        answers: The raw answers, one per annotator (ten in VQA v2); empty without annotations.
        multiple_choice_answer: The most frequent answer; None without annotations.
        annotators: Who gave each answer, as long as `answers`. The official metric lets answers of equal text
            and equal annotator cancel each other; empty means that all are different people.
    """

    question_id: int
    image_id: int
    question: str
    question_type: str | None = None
    answer_type: str | None = None
    answers: tuple[str, ...] = ()
    multiple_choice_answer: str | None = None
    annotators: tuple[str, ...] = ()


@dataclass(frozen=True)
class VqaData(Sequence[VqaExample]):
    """The examples of one questions file, in its order.

    Attributes:
        examples: The examples.
        data_type: What the file says of its images, such as "mscoco".
        data_subtype: The split's name in the file, such as "train2014".
    """

    examples: tuple[VqaExample, ...] = field(repr=False)
    data_type: str | None = None
    data_subtype: str | None = None

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, index: int) -> VqaExample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[VqaExample, ...]: ...
    def __getitem__(self, index: int | slice) -> VqaExample | tuple[VqaExample, ...]:
        return self.examples[index]

    def __iter__(self) -> Iterator[VqaExample]:
        return iter(self.examples)

    @property
    def image_ids(self) -> list[int]:
        """The ids of the images asked about, each once, in order of appearance."""
        return list(dict.fromkeys(example.image_id for example in self.examples))


def read_vqa(questions: str | Path, annotations: str | Path | None = None) -> VqaData:
    """Read a questions file and, if given, the annotations file that belongs to it.

    Args:
        questions: Path of the questions file.
        annotations: Path of the annotations file; None for a split without answers.

    Raises:
        DataError: A file is missing or malformed, a question id occurs twice, or the two files do not hold
            the same questions. The message names file and place.
    """
    root = Record(read_json(questions), questions)
    annotated = None if annotations is None else _annotations_by_question(annotations)
    examples: dict[int, VqaExample] = {}
    for record in root.records("questions"):
        example = _example(record, annotated, annotations)
        if example.question_id in examples:
            raise DataError(f"{questions}: {record.at('question_id')} {example.question_id} occurs twice")
        examples[example.question_id] = example
    if annotated is not None:
        _refuse_left_over(annotated.keys() - examples.keys(), questions, annotations)
    return VqaData(
        tuple(examples.values()), root.optional("data_type", str), root.optional("data_subtype", str)
    )


def _annotations_by_question(path: str | Path) -> dict[int, Record]:
    records: dict[int, Record] = {}
    for record in Record(read_json(path), path).records("annotations"):
        question_id = record.get("question_id", int)
        if question_id in records:
            raise DataError(f"{path}: {record.at('question_id')} {question_id} occurs twice")
        records[question_id] = record
    return records


def _example(
    record: Record, annotated: dict[int, Record] | None, annotations: str | Path | None
) -> VqaExample:
    question_id = record.get("question_id", int)
    image_id = record.get("image_id", int)
    question = record.get("question", str)
    if annotated is None:
        return VqaExample(question_id, image_id, question)
    annotation = annotated.get(question_id)
    if annotation is None:
        raise DataError(f"{annotations}: no annotation for question {question_id} of {record.path}")
    if annotation.get("image_id", int) != image_id:
        raise DataError(
            f"{annotations}: {annotation.at('image_id')} is {annotation.value['image_id']}, but question "
            f"{question_id} of {record.path} is about image {image_id}"
        )
    answers = annotation.records("answers")
    if not answers:
        raise DataError(f"{annotations}: {annotation.at('answers')} is empty, expected at least one answer")
    return VqaExample(
        question_id,
        image_id,
        question,
        annotation.optional("question_type", str),
        annotation.optional("answer_type", str),
        tuple(answer.get("answer", str) for answer in answers),
        annotation.optional("multiple_choice_answer", str),
        _annotators(answers),
    )


def _annotators(answers: list[Record]) -> tuple[str, ...]:
    """Everything the answers say beside their text, for the official metric compares whole records.

    As a rule no two are alike; then nothing need be kept.
    """
    rests = [
        repr(sorted((key, value) for key, value in answer.value.items() if key != "answer"))
        for answer in answers
    ]
    return () if len(set(rests)) == len(rests) else tuple(rests)


def _refuse_left_over(left_over: set[int], questions: str | Path, annotations: str | Path | None) -> None:
    if left_over:
        raise DataError(
            f"{annotations}: {len(left_over)} annotations have no question in {questions}, the first is for "
            f"question {min(left_over)}; the two files do not belong together"
        )

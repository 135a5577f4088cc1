"""Reader of GQA's question files.

Source: Hudson & Manning 2019 (arXiv 1902.09506) and the published files, a JSON object from question id to
{question, imageId, answer, fullAnswer, isBalanced, groups: {global, local}, entailed, equivalent, types:
{structural, semantic, detailed}, annotations: {question, answer, fullAnswer: {word: object}}, semantic:
[{operation, dependencies, argument}], semanticStr}. A file without answers has only some of them. The set
"all" of the training split is a folder of such files.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lxmert.data.examples import Examples
from lxmert.data.interning import StringInterner, gc_disabled
from lxmert.data.json_files import JsonRecord
from lxmert.data.json_stream import stream_records
from lxmert.data.jsonl import NO_JSONL_FOR_GQA, is_jsonl_path
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError, one_line

# Shared by all questions without annotations, so it must not be modified.
_NO_ANNOTATIONS: Mapping[str, Mapping[str, str]] = {"question": {}, "answer": {}, "fullAnswer": {}}


@dataclass(frozen=True, slots=True)
class GqaExample:
    """One question about one image.

    Attributes:
        question_id: Digits, unique in its split; leading zeros count.
        image_id: Id of a Visual Genome image, or "n" and digits for images of the test splits.
        question: The question as written.
        answer: One of the answer words; None in a file without answers.
        full_answer: The answer as a sentence; None in a file without answers.
        is_balanced: True for questions of the balanced set, the only ones that are scored; also True if
            the file does not say.
        groups_global: Kind of thing asked for, such as "color"; None if there is none.
        groups_local: Kind of question about one thing, such as "13-table_color"; None if there is none.
        entailed: Ids of questions whose answers follow from this one's.
        equivalent: Ids of questions with the same meaning.
        structural: "query", "verify", "logical", "choose" or "compare"; None if the file does not say.
        semantic: "rel", "attr", "cat", "obj" or "global"; None if the file does not say.
        detailed: Finer type, such as "weatherVerifyC"; None if the file does not say.
        annotations: For "question", "answer" and "fullAnswer", the ids of scene graph objects by word
            position ("3", or "3:5" for several words).
        semantic_steps: Steps of the question's program, each as "operation: argument".
    """

    question_id: str
    image_id: str
    question: str
    answer: str | None = None
    full_answer: str | None = None
    is_balanced: bool = True
    groups_global: str | None = None
    groups_local: str | None = None
    entailed: tuple[str, ...] = ()
    equivalent: tuple[str, ...] = ()
    structural: str | None = None
    semantic: str | None = None
    detailed: str | None = None
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _NO_ANNOTATIONS)
    semantic_steps: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class GqaData(Examples[GqaExample]):
    """The questions of one file or folder, in its order."""

    @cached_property
    def by_id(self) -> Mapping[str, GqaExample]:
        """The questions by their ids."""
        return {example.question_id: example for example in self.examples}


@gc_disabled()
def read_gqa(
    path: str | Path,
    *,
    balanced_only: bool = False,
    details: bool = True,
    progress: StartProgress = no_progress,
) -> GqaData:
    """Read a questions file, or all `*.json` files of a folder, which are parts of one split.

    Args:
        path: File or folder.
        balanced_only: True leaves out questions outside the balanced set.
        details: False leaves `full_answer`, `groups_*`, `entailed`, `equivalent`, `detailed`, `annotations`
            and `semantic_steps` empty, which only the metrics need; that takes a third of the memory.
        progress: Shows how much of each file has been read.

    Raises:
        DataError: A file is missing, malformed or in the format of `jsonl`, or a question id occurs twice
            among those kept; the message names file and place.
    """
    if is_jsonl_path(path):
        raise DataError(f"{path}: {NO_JSONL_FOR_GQA}")
    intern = StringInterner()
    records = keyed_records(path, progress)
    if balanced_only:  # Before their ids are kept: of the set "all", most questions are left out.
        records = (record for record in records if record.optional("isBalanced", bool) is not False)
    return GqaData(
        tuple(_example(record, intern, details) for record in reject_duplicates(records, "question"))
    )


def keyed_records(path: str | Path, progress: StartProgress) -> Iterator[JsonRecord]:
    """Read the records of a file, or of the `*.json` files of a folder, "..._2" before "..._10".

    Raises:
        DataError: A file is missing or malformed, or the folder holds none.
    """
    path = Path(path)
    parts = [path]
    if path.is_dir():
        parts = sorted(path.glob("*.json"), key=lambda part: (len(part.name), part.name))
        if not parts:
            raise DataError(f"{path}: the folder contains no *.json files; expected the parts of one split")
    for part in parts:
        yield from stream_records(part, keyed=True, progress=progress)


def reject_duplicates(records: Iterable[JsonRecord], kind: str) -> Iterator[JsonRecord]:
    """Pass records through, refusing duplicate keys; `kind` names the records in the error.

    Raises:
        DataError: Two records have the same key.
    """
    seen: set[str] = set()
    for record in records:
        if record.location in seen:
            raise DataError(f"{record.path}: {kind} {one_line(record.location)} occurs twice")
        seen.add(record.location)
        yield record


def _example(record: JsonRecord, intern: StringInterner, details: bool) -> GqaExample:
    image_id = intern(record.get("imageId", str))
    question = record.sentence("question")
    answer = intern.optional(record.optional("answer", str))
    is_balanced = record.optional("isBalanced", bool) is not False
    types = record.record("types") if record.value.get("types") is not None else None
    structural, semantic, detailed = (
        None if types is None else intern.optional(types.optional(key, str))
        for key in ("structural", "semantic", "detailed")
    )
    if not details:
        return GqaExample(
            record.location, image_id, question, answer,
            is_balanced=is_balanced, structural=structural, semantic=semantic,
        )  # fmt: skip
    groups = record.record("groups") if record.value.get("groups") is not None else None
    return GqaExample(
        question_id=intern(record.location),
        image_id=image_id,
        question=question,
        answer=answer,
        full_answer=record.optional("fullAnswer", str),
        is_balanced=is_balanced,
        groups_global=None if groups is None else intern.optional(groups.optional("global", str)),
        groups_local=None if groups is None else intern.optional(groups.optional("local", str)),
        entailed=_ids(record, "entailed", intern),
        equivalent=_ids(record, "equivalent", intern),
        structural=structural,
        semantic=semantic,
        detailed=detailed,
        annotations=_annotations(record, intern),
        semantic_steps=_steps(record, intern),
    )


def _ids(record: JsonRecord, key: str, intern: StringInterner) -> tuple[str, ...]:
    return intern.strings_of(record.strings(key)) if record.value.get(key) else ()


def _annotations(record: JsonRecord, intern: StringInterner) -> Mapping[str, Mapping[str, str]]:
    if record.value.get("annotations") is None:
        return _NO_ANNOTATIONS
    fields = record.record("annotations")
    annotations = {}
    for key, empty in _NO_ANNOTATIONS.items():
        objects = fields.optional(key, dict)
        if objects and not all(isinstance(object_id, str) for object_id in objects.values()):
            raise DataError(f"{record.path}: {fields.at(key)} does not map words to ids of objects")
        annotations[key] = (
            {intern(word): intern(object_id) for word, object_id in objects.items()} if objects else empty
        )
    return annotations if any(annotations.values()) else _NO_ANNOTATIONS


def _steps(record: JsonRecord, intern: StringInterner) -> tuple[str, ...]:
    if record.value.get("semantic") is None:
        return ()
    return tuple(
        intern(f"{step.get('operation', str)}: {step.get('argument', str)}")
        for step in record.records("semantic")
    )

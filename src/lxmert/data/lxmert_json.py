"""Readers of the JSON files that the authors of LXMERT re-distribute.

Source: airsplay/lxmert, lists of records:
    data/lxmert/*.json  {img_id, sentf: {source: [sentence]}, labelf: {source: [{answer: score}]}}
    data/vqa/*.json     {question_id: int, img_id, sent, question_type, answer_type, label: {answer: score}}
    data/gqa/*.json     {question_id: str, img_id, sent, label: {answer: 1.0}}
    data/nlvr2/*.json   {identifier, img0, img1, sent, label: 0 | 1, uid}
Files of test splits have no labels.
"""

from collections.abc import Iterator
from pathlib import Path

from lxmert.data.image_text import ImageText
from lxmert.data.interning import StringInterner, gc_disabled
from lxmert.data.json_files import JsonRecord, describe
from lxmert.data.json_stream import stream_records
from lxmert.data.labels import Label, LabelInterner, LabelledQuestion
from lxmert.data.nlvr2 import Nlvr2Data, Nlvr2Example, identifier_and_group
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError


@gc_disabled()
def read_lxmert_pretraining(path: str | Path, *, progress: StartProgress = no_progress) -> list[ImageText]:
    """Read an aggregated pre-training file: every sentence of every source of every image, in its order.

    Raises:
        DataError: The file is missing or malformed, an image occurs twice, or a source has unequal numbers of
            labels and sentences; the message names file and place.
    """
    labels = LabelInterner()
    texts: list[ImageText] = []
    for record in _unique_records(path, "img_id", progress):
        image = record.get("img_id", str)
        sentences = record.record("sentf")
        scores = record.record("labelf") if record.value.get("labelf") is not None else None
        for source in sentences.value:
            written = sentences.sentences(source)
            known = [None] * len(written) if scores is None else _labels(scores, source, len(written), labels)
            source = labels.intern_string(source)
            texts += map(
                ImageText,
                [image] * len(written),
                written,
                [source] * len(written),
                known,
            )
        if scores is not None:
            _reject_labels_without_sentences(sentences, scores)
    return texts


def read_lxmert_vqa(path: str | Path, *, progress: StartProgress = no_progress) -> list[LabelledQuestion]:
    """Read a VQA fine-tuning file, in its order.

    Raises:
        DataError: The file is missing or malformed, or a question id occurs twice.
    """
    return _questions(path, int, progress)


def read_lxmert_gqa(path: str | Path, *, progress: StartProgress = no_progress) -> list[LabelledQuestion]:
    """Read a GQA fine-tuning file, in its order.

    Raises:
        DataError: The file is missing or malformed, or a question id occurs twice.
    """
    return _questions(path, str, progress)


def read_lxmert_nlvr2(path: str | Path, *, progress: StartProgress = no_progress) -> Nlvr2Data:
    """Read an NLVR2 fine-tuning file, in its order.

    Raises:
        DataError: The file is missing or malformed, or an identifier occurs twice.
    """
    intern = StringInterner()
    return Nlvr2Data(tuple(_pair(record, intern) for record in _unique_records(path, "identifier", progress)))


@gc_disabled()
def _questions(
    path: str | Path, id_type: type[int] | type[str], progress: StartProgress
) -> list[LabelledQuestion]:
    labels, intern = LabelInterner(), StringInterner()
    return [
        LabelledQuestion(
            record.get("question_id", id_type),
            intern(record.get("img_id", str)),
            record.sentence("sent"),
            labels.read(record, "label") if record.value.get("label") is not None else None,
            intern.optional(record.optional("question_type", str)),
            intern.optional(record.optional("answer_type", str)),
        )
        for record in _unique_records(path, "question_id", progress)
    ]


def _unique_records(path: str | Path, key: str, progress: StartProgress) -> Iterator[JsonRecord]:
    """Read the records of a list, refusing duplicate values of `key`."""
    seen: set[int | str] = set()
    for record in stream_records(path, progress=progress):
        value = record.value.get(key)
        if isinstance(value, int | str):
            if value in seen:
                raise DataError(f"{path}: {record.at(key)} {value!r} occurs twice")
            seen.add(value)
        yield record


def _labels(scores: JsonRecord, source: str, sentences: int, labels: LabelInterner) -> list[Label | None]:
    if source not in scores.value:
        return [None] * sentences
    items = scores.get(source, list)
    if len(items) != sentences:
        raise DataError(
            f"{scores.path}: {scores.at(source)} has {len(items)} labels for {sentences} sentences; expected "
            f"one for each"
        )
    return [labels.parse(record) for record in scores.records(source)]


def _reject_labels_without_sentences(sentences: JsonRecord, scores: JsonRecord) -> None:
    for source in scores.value:
        if source not in sentences.value:
            raise DataError(f"{sentences.path}: {scores.at(source)} has no sentences in {sentences.location}")


def _pair(record: JsonRecord, intern: StringInterner) -> Nlvr2Example:
    identifier, group = identifier_and_group(record)
    label = record.value.get("label")
    if label not in (None, 0, 1):
        raise DataError(f"{record.path}: {record.at('label')} is {describe(label)}, expected 0 or 1")
    return Nlvr2Example(
        identifier=identifier,
        sentence=intern(record.sentence("sent")),
        label=None if label is None else bool(label),
        left_image=intern(record.get("img0", str)),
        right_image=intern(record.get("img1", str)),
        group=intern(group),
    )

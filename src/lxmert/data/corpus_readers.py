"""Readers that turn each kind of annotation file into sentences about images (specification section 2.3)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lxmert.data.answer_normalisation import normalise_raw_answer
from lxmert.data.captions import read_captions
from lxmert.data.corpus_sections import SourceSection
from lxmert.data.gqa import read_gqa
from lxmert.data.image_text import ImageText
from lxmert.data.jsonl import read_jsonl
from lxmert.data.labels import LabelInterner, annotator_score
from lxmert.data.lxmert_json import read_lxmert_pretraining
from lxmert.data.progress import StartProgress
from lxmert.data.visual_genome_texts import read_coco_ids, read_question_answers, read_region_phrases
from lxmert.data.vqa import VqaExample, read_vqa
from lxmert.errors import DataError

_COCO_NAME = "COCO_{split}_{image_id:012d}"


@dataclass(frozen=True)
class SourceReader:
    """Reads one source.

    Attributes:
        section: what to read.
        directory: base of relative paths.
        is_stored: whether there are regions of an image of this name; None if unknown.
        progress: shows how much of each file has been read.
        names: all names of the images that have several, by the one in the sentences; filled by `read`.
    """

    section: SourceSection
    directory: Path
    is_stored: Callable[[str], bool] | None
    progress: StartProgress
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self) -> Iterator[ImageText]:
        """The sentences, in the order of the file.

        Raises:
            DataError: A file is missing or malformed, or cannot be used for pre-training.
        """
        return _READERS[self.section.kind](self)

    @property
    def source(self) -> str:
        """The source's name."""
        return self.section.source

    @property
    def path(self) -> Path:
        """The file."""
        return self.file(self.section.file)

    def file(self, template: str) -> Path:
        """A file of the data directory."""
        return self.directory / template.format(split=self.section.split)

    def image_name(self, image_id: int | str, default: str = "{image_id}") -> str:
        """The name of an image by its id."""
        return (self.section.image_name or default).format(split=self.section.split, image_id=image_id)


def _vqa(reader: SourceReader) -> Iterator[ImageText]:
    annotations = reader.section.annotations
    labels = LabelInterner()
    name = cache(lambda image_id: reader.image_name(image_id, _COCO_NAME))
    examples = read_vqa(
        reader.path, None if annotations is None else reader.file(annotations), progress=reader.progress
    )
    for example in _filter_question_types(reader, examples):
        counts = Counter(map(normalise_raw_answer, example.answers))
        label = labels.intern({answer: annotator_score(count) for answer, count in counts.items()})
        yield ImageText(name(example.image_id), example.question, reader.source, label)


def _filter_question_types(reader: SourceReader, examples: Sequence[VqaExample]) -> Sequence[VqaExample]:
    types = reader.section.question_types
    if types is None:
        return examples
    missing = set(types) - {example.question_type for example in examples}
    if missing:
        raise DataError(f"{reader.path}: no question is of type {', '.join(sorted(missing))}")
    return [example for example in examples if example.question_type in types]


def _gqa(reader: SourceReader) -> Iterator[ImageText]:
    labels, name = LabelInterner(), _visual_genome_names(reader)
    questions = read_gqa(
        reader.path, balanced_only=reader.section.balanced_only, details=False, progress=reader.progress
    )
    for question in questions:
        label = labels.intern({} if question.answer is None else {question.answer: 1.0})
        yield ImageText(name(question.image_id), question.question, reader.source, label)


def _captions(reader: SourceReader) -> Iterator[ImageText]:
    names: dict[int, str] = {}
    for caption in read_captions(reader.path, progress=reader.progress):
        name = names.get(caption.image_id)
        if name is None:
            name = reader.image_name(caption.image_id)
            if caption.file_name is not None and reader.section.image_name is None:
                name = caption.file_name
            names[caption.image_id] = name
        yield ImageText(name, caption.caption, reader.source)


def _visual_genome_regions(reader: SourceReader) -> Iterator[ImageText]:
    name = _visual_genome_names(reader)
    for image in read_region_phrases(reader.path, progress=reader.progress):
        image_name = name(image.image_id)
        for phrase in image.phrases:
            yield ImageText(image_name, phrase, reader.source)


def _visual_genome_questions(reader: SourceReader) -> Iterator[ImageText]:
    name, labels = _visual_genome_names(reader), LabelInterner()
    for image in read_question_answers(reader.path, progress=reader.progress):
        image_name = name(image.image_id)
        for question, answer in image.pairs:
            yield ImageText(image_name, question, reader.source, labels.intern({answer: 1.0}))


def _visual_genome_names(reader: SourceReader) -> Callable[[int | str], str]:
    """A function from ids to names of Visual Genome's images; images also in COCO get COCO's name if stored.

    `SourceReader.names` gets all names by which lists may select such an image.
    """
    image_data = reader.section.image_data
    if image_data is None:
        return cache(reader.image_name)
    # GQA writes the ids as strings.
    coco_ids = {str(number): coco for number, coco in read_coco_ids(reader.file(image_data)).items()}

    @cache
    def name(image_id: int | str) -> str:
        own_name = reader.image_name(image_id)
        coco_id = coco_ids.get(str(image_id))
        if coco_id is None:
            return own_name
        coco_names = tuple(
            template.format(split=reader.section.split, image_id=coco_id)
            for template in reader.section.coco_image_names
        )
        is_stored = reader.is_stored
        chosen = next((name for name in coco_names if is_stored is None or is_stored(name)), own_name)
        reader.names[chosen] = (*coco_names, own_name)
        return chosen

    return name


def _lxmert(reader: SourceReader) -> Iterator[ImageText]:
    yield from read_lxmert_pretraining(reader.path, progress=reader.progress)


def _jsonl(reader: SourceReader) -> Iterator[ImageText]:
    for example in read_jsonl(reader.path, progress=reader.progress):
        if len(example.images) != 1:
            raise DataError(
                f"{reader.path}: the sentence {example.sentence[:40]!r} is about {len(example.images)} "
                "images; pre-training needs sentences about one image"
            )
        if example.label is False:
            raise DataError(
                f"{reader.path}: the sentence {example.sentence[:40]!r} has the label false; pre-training "
                "needs true sentences, and creates the false ones itself"
            )
        yield ImageText(example.image, example.sentence, reader.source, example.answers)


_READERS: Mapping[str, Callable[[SourceReader], Iterator[ImageText]]] = {
    "vqa": _vqa,
    "gqa": _gqa,
    "captions": _captions,
    "visual_genome_regions": _visual_genome_regions,
    "visual_genome_questions": _visual_genome_questions,
    "lxmert": _lxmert,
    "jsonl": _jsonl,
}

"""The sentences of a pre-training corpus: sources joined, images checked, everything counted.

Source: paper section 3.3 and table 1 (which data sets); how each becomes sentences: specification 2.3.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from lxmert.data.answer_targets import answer_lookup
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.corpus_readers import SourceReader
from lxmert.data.corpus_sections import CorpusSection
from lxmert.data.file_layouts import reject_unfinished_scenes
from lxmert.data.image_names import ImageList
from lxmert.data.image_text import ImageText
from lxmert.data.interning import gc_disabled
from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import StartProgress, iterate_with_progress, no_progress
from lxmert.data.region_source import ImageNameIndex
from lxmert.errors import DataError


@dataclass
class SourceReport:
    """Counts of the used and omitted sentences of one source.

    Attributes:
        texts: sentences that are used.
        images: images that these are about.
        questions: how many of these are questions.
        unknown_answers: questions without an answer in the vocabulary; None as long as there is none.
        empty: sentences without a word, left out.
        other_images: sentences left out because the corpus excludes their image.
        without_regions: sentences left out because there are no regions of their image.
        images_without_regions: the number of their images.
    """

    texts: int = 0
    images: int = 0
    questions: int = 0
    unknown_answers: int | None = None
    empty: int = 0
    other_images: int = 0
    without_regions: int = 0
    images_without_regions: int = 0


@dataclass(frozen=True)
class CorpusReport:
    """Counts of the used and omitted sentences of all sources.

    Attributes:
        sources: the counts of each source, by its name.
        images: images that the used sentences are about.
        images_without_regions: images that were left out.
        names_of_no_image: by setting, `only_images` or `without_images`, how many names in its list match no
            image of the sentences; lists whose names all match are omitted.
    """

    sources: Mapping[str, SourceReport]
    images: int
    images_without_regions: int = 0
    names_of_no_image: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All counts, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """One line for each source and one for all, for people."""
        total = sum(source.texts for source in self.sources.values())
        lines = [f"{name}: {_summary(source)}" for name, source in self.sources.items()]
        lines += [
            f"{setting}: {count:,} of the listed names match no image of the sentences"
            for setting, count in self.names_of_no_image.items()
        ]
        return [*lines, f"together: {total:,} sentences about {self.images:,} images"]


@dataclass(frozen=True)
class Corpus:
    """Sentences about images.

    Attributes:
        texts: the sentences, source after source in the order of the files. With a store, each image has
            the first of its names in the sources.
        report: counts of everything that was read.
    """

    texts: Sequence[ImageText] = field(repr=False)
    report: CorpusReport

    @property
    def image_names(self) -> list[str]:
        """The images, each once, in order of appearance."""
        return list(dict.fromkeys(text.image for text in self.texts))

    def limit_images(self, count: int | None) -> "Corpus":
        """The sentences about the first `count` images; None for all."""
        if count is None:
            return self
        images = set(self.image_names[:count])
        return _build_corpus([text for text in self.texts if text.image in images], self.report)

    def with_answers(self, answers: AnswerVocabulary, progress: StartProgress = no_progress) -> "Corpus":
        """The same sentences; the report also counts the questions without an answer in the vocabulary."""
        find = answer_lookup(answers)
        unknown = Counter(
            text.source
            for text in iterate_with_progress(self.texts, "Looking up answers", progress)
            if text.answers is not None and not any(find(answer) is not None for answer in text.answers)
        )
        sources = {
            name: replace(source, unknown_answers=unknown[name])
            for name, source in self.report.sources.items()
        }
        return replace(self, report=replace(self.report, sources=sources))


@gc_disabled()
def read_corpus(
    section: CorpusSection,
    directory: str | Path = ".",
    *,
    store: RegionStore | None = None,
    progress: StartProgress = no_progress,
) -> Corpus:
    """Read all sources.

    Args:
        section: what to read.
        directory: base of relative paths.
        store: the images' regions; None does not check that there are any.
        progress: shows how much of each file has been read.

    Raises:
        DataError: A file is missing or malformed, the directory contains unfinished scenes, nothing is left,
            none of the names in a list matches an image, two names in different folders match one image of
            the store, or images have no regions and the section does not allow leaving them out.
    """
    directory = Path(directory)
    reject_unfinished_scenes(directory)
    reports: dict[str, SourceReport] = {}
    image_lists = {
        setting: ImageList(directory / file)
        for setting, file in (
            ("only_images", section.only_images),
            ("without_images", section.without_images),
        )
        if file is not None
    }
    name_index = None if store is None else ImageNameIndex(store)
    texts = list(_selected_texts(section, directory, name_index, image_lists, reports, progress))
    unmatched = _count_unmatched_names(image_lists)
    image_names = dict.fromkeys(text.image for text in texts)
    names = _canonical_image_names(image_names, name_index)
    missing = image_names.keys() - names.keys()
    if name_index is not None and missing and section.missing_images == "error":
        raise DataError(
            f"{name_index.path}: {len(missing):,} images of the sentences are missing, starting with "
            f"{name_index.describe_missing(min(missing))}; add them with `lxmert extract`, or leave them out "
            "with `missing_images: skip`"
        )
    # Usually all nine million sentences can stay as they are.
    if missing:
        _count_without_regions((text for text in texts if text.image in missing), reports)
    if missing or any(image != name for image, name in names.items()):
        texts = [_with_image_name(text, names[text.image]) for text in texts if text.image not in missing]
    if not texts:
        raise DataError(f"{directory}: the sources contain no sentence about a selected image")
    return _build_corpus(texts, CorpusReport(reports, 0, len(missing), unmatched))


def _selected_texts(
    section: CorpusSection,
    directory: Path,
    name_index: ImageNameIndex | None,
    image_lists: Mapping[str, ImageList],
    reports: dict[str, SourceReport],
    progress: StartProgress,
) -> Iterator[ImageText]:
    """Read the sentences about images that the section includes."""
    is_stored = None if name_index is None else lambda name: name_index.find(name) is not None
    is_included = cache(lambda names: _is_included(names, image_lists))
    for source in section.sources:
        reader = SourceReader(source, directory, is_stored, progress)
        for text in reader.read():
            if text.source not in reports:
                reports[text.source] = SourceReport()
            if not text.sentence.strip():
                reports[text.source].empty += 1
            elif not is_included(reader.names.get(text.image, (text.image,))):
                reports[text.source].other_images += 1
            else:
                yield text


def _count_without_regions(texts: Iterable[ImageText], reports: Mapping[str, SourceReport]) -> None:
    """Count the sentences whose images have no regions in the reports."""
    images: dict[str, set[str]] = {}
    for text in texts:
        reports[text.source].without_regions += 1
        images.setdefault(text.source, set()).add(text.image)
    for name, names in images.items():
        reports[name].images_without_regions = len(names)


def _build_corpus(texts: Sequence[ImageText], report: CorpusReport) -> Corpus:
    """A corpus of these sentences, with the report's counts of used sentences updated."""
    counts = Counter(text.source for text in texts)
    questions = Counter(text.source for text in texts if text.answers is not None)
    pairs = {(text.source, text.image) for text in texts}
    images = Counter(source for source, _ in pairs)
    sources = {
        name: replace(source, texts=counts[name], images=images[name], questions=questions[name])
        for name, source in report.sources.items()
    }
    image_count = len({image for _, image in pairs})
    return Corpus(texts, replace(report, sources=sources, images=image_count))


def _is_included(names: Sequence[str], image_lists: Mapping[str, ImageList]) -> bool:
    """Whether an image with these names is selected; a list has it if it has one of them."""
    # Every name is looked up in each list, because lists count their names that match none.
    listed = {
        setting: sum(name in image_list for name in names) > 0 for setting, image_list in image_lists.items()
    }
    return listed.get("only_images", True) and not listed.get("without_images", False)


def _count_unmatched_names(image_lists: Mapping[str, ImageList]) -> dict[str, int]:
    """Count the names in each list that match no image, refusing a list of which none matches."""
    counts: dict[str, int] = {}
    for setting, names in image_lists.items():
        unmatched = names.unmatched_names
        if len(unmatched) == len(names):
            raise DataError(
                f"{names.path}: none of its {len(names):,} names, starting with {unmatched[0]!r}, matches "
                f"an image of the sentences; correct the names, or omit {setting}"
            )
        if unmatched:
            counts[setting] = len(unmatched)
    return counts


def _canonical_image_names(names: Iterable[str], name_index: ImageNameIndex | None) -> Mapping[str, str]:
    """Map all names of each stored image to the first of them; without a store, each name to itself."""
    if name_index is None:
        return {name: name for name in names}
    positions = name_index.find_all(names)
    first: dict[int, str] = {}
    return {name: first.setdefault(positions[name], name) for name in names if name in positions}


def _with_image_name(text: ImageText, image: str) -> ImageText:
    return text if text.image == image else replace(text, image=image)


def _summary(source: SourceReport) -> str:
    parts = [f"{source.texts:,} sentences about {source.images:,} images"]
    if source.questions:
        parts.append(f"{source.questions:,} of them questions")
    if source.unknown_answers:
        parts.append(f"{source.unknown_answers:,} without a known answer")
    if source.without_regions:
        parts.append(
            f"left out {source.without_regions:,} about {source.images_without_regions:,} images without "
            "regions"
        )
    if source.other_images:
        parts.append(f"left out {source.other_images:,} about images that are not selected")
    if source.empty:
        parts.append(f"left out {source.empty:,} empty")
    return ", ".join(parts)

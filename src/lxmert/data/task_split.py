"""One split of a fine-tuning task, from files to examples, images and object labels; the same for all tasks.

Each task has its own reader of its files (`vqa_split`, `gqa_split`, `nlvr2_split`). This module does the
rest: it joins splits, selects a part, and locates the images and their labels.
"""

import filecmp
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

import torch
from torch import Tensor

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.file_layouts import TaskFiles, validate_directory
from lxmert.data.image_files import ImageFile
from lxmert.data.image_names import image_stem
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_source import ObjectLabelSource, RegionSource
from lxmert.data.task_examples import Purpose, Subset, Target, TaskExample
from lxmert.errors import DataError

_Content = TypeVar("_Content")

# Readers report progress in megabytes; shorter files are read in no time.
_LARGE_MEGABYTES = 10

# Of coordinates in 0..1: many times the rounding of float32, and a tenth of a pixel in 10,000.
_BOX_TOLERANCE = 1e-5

ImageUse = tuple[str, TaskExample, int]
"""One use of an image: the split, an example, and the image's index in the example."""


class SplitReader(ABC):
    """Reads the files of one task.

    Args:
        directory: The data directory.
        files: Its layout.
    """

    files: TaskFiles

    def __init__(self, directory: Path, files: Any) -> None:
        self.directory = directory
        self.files = files
        self._cache: dict[tuple[str, Path], Any] = {}

    @abstractmethod
    def read(
        self, split: str, purpose: Purpose, progress: StartProgress = no_progress
    ) -> Sequence[TaskExample]:
        """All examples of a split, in the order of its file.

        Args:
            split: The split's name.
            purpose: What they are read for.
            progress: Shows the progress.

        Raises:
            DataError: A file is missing or malformed.
        """

    @abstractmethod
    def target(self, example: TaskExample, answers: AnswerVocabulary) -> Target:
        """The correct answer of an example."""

    @abstractmethod
    def vocabulary(self, examples: Iterable[TaskExample], min_count: int) -> AnswerVocabulary:
        """The answers that at least `min_count` annotated examples have.

        Raises:
            VocabularyError: There are none.
        """

    @abstractmethod
    def image_path(self, split: str, example: TaskExample, image_index: int) -> Path:
        """The file of an example's image number `image_index`."""

    def read_once(self, read: Callable[..., _Content], path: Path, **settings: Any) -> _Content:
        """Call `read` on a file and cache the result, so that the file is read once only."""
        key = (read.__name__, path)
        if key not in self._cache:
            self._cache[key] = read(path, **settings)
        content: _Content = self._cache[key]
        return content

    def instances(self, split: str) -> Mapping[str, CocoImage] | None:
        """The objects of a split's images by image name, None if the layout has no such file.

        Raises:
            DataError: The file is missing or malformed, or two images have one name.
        """
        path = self.files.instances_path(self.directory, split)
        if path is None:
            return None
        images = self.read_once(read_instances, path).values()
        reject_shared_names(path, ((image_stem(image.file_name), image.file_name) for image in images))
        return {image_stem(image.file_name): image for image in images}


@dataclass(frozen=True)
class TaskSplit:
    """A split of a task's data, or a part of it, before it is read.

    Attributes:
        reader: Reads the task's files.
        name: The split's name, such as "train", or several joined: "train,valid".
        subset: The subset of it to read.
        purpose: What it is read for.
    """

    reader: SplitReader
    name: str
    subset: Subset = field(default_factory=Subset)
    purpose: Purpose = Purpose.SCORING

    @property
    def names(self) -> list[str]:
        """Names of the splits that are joined.

        Raises:
            DataError: A name is empty or occurs twice.
        """
        names = [name.strip() for name in self.name.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise DataError(
                f"split {self.name!r}: expected the name of a split, or several different names joined by "
                "commas"
            )
        return names

    def read(self, progress: StartProgress = no_progress) -> "SplitExamples":
        """Read the examples.

        Args:
            progress: Shows the reading of large files.

        Raises:
            DataError: A file is missing or malformed, a split or an example occurs twice, no example
                is of a requested kind, or two different images have the same name.
        """
        validate_directory(self.reader.directory, self.reader.files)
        large_file_progress = _only_large_files(progress)
        by_split = {name: self.reader.read(name, self.purpose, large_file_progress) for name in self.names}
        joined = [example for examples in by_split.values() for example in examples]
        origin = f"{self.reader.directory}: no {self.name} question"
        selected = self.subset.select(joined, origin)
        if len(by_split) > 1:
            _reject_duplicates(selected, f"{self.reader.directory}: {self.name}")
        chosen = {example.identifier for example in selected}
        image_uses: dict[str, ImageUse] = {}
        for name, examples in by_split.items():
            split_uses: dict[str, ImageUse] = {}
            for example in examples:
                if example.identifier in chosen:
                    for image_index, image in enumerate(example.images):
                        split_uses.setdefault(image, (name, example, image_index))
            self._reject_conflicting_images(image_uses, split_uses)
            image_uses |= {image: use for image, use in split_uses.items() if image not in image_uses}
        return SplitExamples(self, selected, image_uses)

    def _reject_conflicting_images(
        self, image_uses: Mapping[str, ImageUse], other_uses: Mapping[str, ImageUse]
    ) -> None:
        """Refuse a name that an earlier split gives to a different image; copies of the image are allowed."""
        for image in filter(image_uses.__contains__, other_uses):
            first_path, second_path = (
                self.reader.image_path(*uses[image]) for uses in (image_uses, other_uses)
            )
            is_read = first_path != second_path and first_path.is_file() and second_path.is_file()
            if is_read and not filecmp.cmp(first_path, second_path, shallow=False):
                reject_shared_names(self.reader.directory, ((image, first_path), (image, second_path)))


@dataclass(frozen=True)
class SplitExamples:
    """The examples read from a split.

    Attributes:
        split: The split they are from.
        examples: The examples, in the order of the files.
        image_uses: One use of each image, by its name.
    """

    split: TaskSplit
    examples: Sequence[TaskExample] = field(repr=False)
    image_uses: Mapping[str, ImageUse] = field(repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    def targets(self, answers: AnswerVocabulary) -> list[Target]:
        """The correct answers."""
        return [self.split.reader.target(example, answers) for example in self.examples]

    def image_names(self) -> list[str]:
        """Names of the images, each once, in order of appearance."""
        return list(self.image_uses)

    def image_files(self, *, with_boxes: bool) -> dict[str, ImageFile]:
        """The images' files by name, and with `with_boxes` their objects' boxes.

        Raises:
            DataError: Boxes are requested, but there is no instances file or it lacks an image.
        """
        boxes = self._instances("boxes") if with_boxes else {}
        return {
            image: ImageFile(
                self.split.reader.image_path(*use), boxes[image].boxes_xyxy_px if with_boxes else None
            )
            for image, use in self.image_uses.items()
        }

    def object_labels(self, regions: RegionSource) -> ObjectLabelSource:
        """Classes and attributes of the objects of a source of these images, row by row.

        They come from the extractor, or else from the instances file that gave the boxes.

        Raises:
            DataError: There is no instances file, it is malformed, or its boxes are not those of the source.
        """
        if regions.object_labels is not None:
            return regions.object_labels
        instances = self._instances("object labels")
        images = {row: instances[str(name)] for name, row in regions.rows.items()}
        for row, image in images.items():
            if not _has_boxes(image, regions.boxes_xyxy_unit(row)):
                raise DataError(
                    f"{regions.extractor} does not provide the classes of its objects, and those of the "
                    f"instances file belong to other boxes, such as the {len(image)} of {image.file_name}; "
                    "turn off object_prediction, use a detector that names its objects, or extract the "
                    "images with the file's boxes"
                )
        return ObjectLabels.from_images(images)

    def _instances(self, purpose: str) -> dict[str, CocoImage]:
        reader = self.split.reader
        by_image: dict[str, CocoImage] = {}
        for name in self.split.names:
            instances = reader.instances(name)
            if instances is None:
                raise DataError(
                    f"{purpose} come from an instances file, but the layout of {reader.directory} has none"
                )
            by_image.update(instances)
        unknown = [image for image in self.image_uses if image not in by_image]
        if unknown:
            raise DataError(
                f"{reader.directory}: {len(unknown)} of the {len(self.image_uses)} {self.split.name} images "
                f"are not in the instances file, starting with {unknown[0]}"
            )
        return by_image


def _has_boxes(image: CocoImage, boxes_xyxy_unit: Tensor) -> bool:
    """Whether these are the boxes of the image's objects, in their order."""
    if len(image) != len(boxes_xyxy_unit):
        return False
    height, width = image.size_hw
    if 0 in image.size_hw:  # Converters that do not know sizes write 0.
        return True
    expected = (image.boxes_xyxy_px / torch.tensor([width, height, width, height])).clamp(0.0, 1.0)
    return torch.allclose(expected, boxes_xyxy_unit, rtol=0.0, atol=_BOX_TOLERANCE)


def reject_shared_names(origin: Path | None, images: Iterable[tuple[str, str | PurePath]]) -> None:
    """Refuse two image files of the same name: one would be mistaken for the other.

    Args:
        origin: Where they come from, for the message.
        images: Name and file of each; a pair may occur several times.

    Raises:
        DataError: Two files have the same name.
    """
    files: dict[str, str | PurePath] = {}
    for name, file in images:
        first = files.setdefault(name, file)
        if first != file:
            raise DataError(
                f"{origin}: {first} and {file} are both called {name!r}, because folders and extensions "
                "are ignored; rename one of them"
            )


def _only_large_files(progress: StartProgress) -> StartProgress:
    """Show progress only for files large enough to take seconds."""
    return lambda description, total: (progress if total >= _LARGE_MEGABYTES else no_progress)(
        description, total
    )


def _reject_duplicates(examples: Sequence[TaskExample], origin: str) -> None:
    seen: set[int | str] = set()
    for example in examples:
        if example.identifier in seen:
            raise DataError(
                f"{origin}: {example.identifier} is in more than one of these splits; expected another id "
                "for each question (your own questions without an id are named after their file, "
                "regardless of its folder)"
            )
        seen.add(example.identifier)

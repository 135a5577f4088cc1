"""One split of a fine-tuning task, from files to examples, images and object labels; the same for all tasks.

A task's own reader says what its files hold (`vqa_split`, `gqa_split`, `nlvr2_split`). What is done with it
is done here: splits are joined, cut to a part, and their images looked at or looked up.
"""

import filecmp
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.files import TaskFiles, check_directory
from lxmert.data.image_files import ImageFile
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_source import ObjectLabelSource, RegionSource
from lxmert.data.task_examples import Part, Purpose, Target, TaskExample
from lxmert.errors import DataError

_Content = TypeVar("_Content")

# Readers tell how long a file is in megabytes; shorter ones take no time to speak of.
_LARGE_MEGABYTES = 10

Home = tuple[str, TaskExample, int]
"""One use of an image: the file's split, an example, and the image's place in it."""


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
        self._kept: dict[tuple[str, Path], Any] = {}

    @abstractmethod
    def read(
        self, split: str, purpose: Purpose, progress: StartProgress = no_progress
    ) -> Sequence[TaskExample]:
        """All examples of a split, in the order of its file.

        Args:
            split: The split's name.
            purpose: What they are read for.
            progress: Shows how far it is.

        Raises:
            DataError: A file is missing or malformed.
        """

    @abstractmethod
    def target(self, example: TaskExample, answers: AnswerVocabulary) -> Target:
        """The right answer of an example."""

    @abstractmethod
    def vocabulary(self, examples: Iterable[TaskExample], min_count: int) -> AnswerVocabulary:
        """The answers of annotated examples, those that `min_count` or more of them have.

        Raises:
            VocabularyError: There is none.
        """

    @abstractmethod
    def image_path(self, split: str, example: TaskExample, place: int) -> Path:
        """The file of an example's image number `place`."""

    def read_once(self, read: Callable[..., _Content], path: Path, **settings: Any) -> _Content:
        """What a function makes of a file, with these settings; the file is read the first time only."""
        key = (read.__name__, path)
        if key not in self._kept:
            self._kept[key] = read(path, **settings)
        content: _Content = self._kept[key]
        return content

    def instances(self, split: str) -> Mapping[str, CocoImage] | None:
        """The objects of a split's images by the images' names, None where the layout has no such file.

        Raises:
            DataError: The file is missing or malformed, or two images have one name.
        """
        path = self.files.instances_path(self.directory, split)
        if path is None:
            return None
        found = self.read_once(read_instances, path)
        refuse_shared_names(path, ((Path(image.file_name).stem, image.file_name) for image in found.values()))
        return {Path(image.file_name).stem: image for image in found.values()}


@dataclass(frozen=True)
class TaskSplit:
    """Where a split lies and how much of it is wanted.

    Attributes:
        reader: Reads the task's files.
        name: The split's name, such as "train", or several joined: "train,valid".
        part: How much of it is wanted.
        purpose: What it is read for.
    """

    reader: SplitReader
    name: str
    part: Part = field(default_factory=Part)
    purpose: Purpose = Purpose.SCORING

    @property
    def names(self) -> list[str]:
        """The splits that are joined.

        Raises:
            DataError: One has no name, or is named twice.
        """
        names = [name.strip() for name in self.name.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise DataError(
                f"split {self.name!r}: expected the name of a split, or different ones joined by commas"
            )
        return names

    def read(self, progress: StartProgress = no_progress) -> "SplitExamples":
        """Read the wanted examples.

        Args:
            progress: Shows the reading of large files.

        Raises:
            DataError: A file is missing or malformed, a split or an example occurs twice, none is wanted, or
                two different images have one name.
        """
        check_directory(self.reader.directory)
        shown = _large_only(progress)
        by_split = {name: self.reader.read(name, self.purpose, shown) for name in self.names}
        joined = [example for examples in by_split.values() for example in examples]
        origin = f"{self.reader.directory}: no {self.name} question"
        wanted = self.part.of(joined, origin)
        if len(by_split) > 1:
            _refuse_repeated(wanted, f"{self.reader.directory}: {self.name}")
        chosen = {example.identifier for example in wanted}
        homes: dict[str, Home] = {}
        for name, examples in by_split.items():
            own: dict[str, Home] = {}
            for example in examples:
                if example.identifier in chosen:
                    for place, image in enumerate(example.images):
                        own.setdefault(image, (name, example, place))
            self._refuse_other_images(homes, own)
            homes |= {image: home for image, home in own.items() if image not in homes}
        return SplitExamples(self, wanted, homes)

    def _refuse_other_images(self, homes: Mapping[str, Home], others: Mapping[str, Home]) -> None:
        """Refuse a split with another picture of a name that a split before has; copies may be there."""
        for image in filter(homes.__contains__, others):
            one, other = (self.reader.image_path(*found[image]) for found in (homes, others))
            is_read = one != other and one.is_file() and other.is_file()
            if is_read and not filecmp.cmp(one, other, shallow=False):
                refuse_shared_names(self.reader.directory, ((image, one), (image, other)))


@dataclass(frozen=True)
class SplitExamples:
    """The examples that were read of a split.

    Attributes:
        split: Where they are from.
        examples: The examples, in the order of the files.
        homes: Image name to one use of it.
    """

    split: TaskSplit
    examples: Sequence[TaskExample] = field(repr=False)
    homes: Mapping[str, Home] = field(repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    def targets(self, answers: AnswerVocabulary) -> list[Target]:
        """The right answers."""
        return [self.split.reader.target(example, answers) for example in self.examples]

    def image_names(self) -> list[str]:
        """Names of the images, each once, in order of appearance."""
        return list(self.homes)

    def image_files(self, *, with_boxes: bool) -> dict[str, ImageFile]:
        """Where the images lie, by name, and with `with_boxes` their objects' boxes.

        Raises:
            DataError: Boxes are wanted, but there is no instances file or an image is not in it.
        """
        boxes = self._instances("boxes") if with_boxes else {}
        return {
            image: ImageFile(
                self.split.reader.image_path(*home), boxes[image].boxes_xyxy_px if with_boxes else None
            )
            for image, home in self.homes.items()
        }

    def object_labels(self, regions: RegionSource) -> ObjectLabelSource:
        """Class and attribute of the objects of a source made of these images, row by row.

        They are what the extractor says, or else what the instances file says of the given boxes.

        Raises:
            DataError: There is no instances file, or it is malformed.
        """
        if regions.object_labels is not None:
            return regions.object_labels
        instances = self._instances("object labels")
        by_row = sorted(regions.rows.items(), key=lambda item: item[1])
        if [row for _, row in by_row] != list(range(len(by_row))):
            raise DataError(
                f"{regions.extractor} says nothing of the classes of its objects, so they cannot be "
                "predicted; turn object_prediction off, or use a detector that names them"
            )
        return ObjectLabels.from_images([instances[str(image)] for image, _ in by_row])

    def _instances(self, what: str) -> dict[str, CocoImage]:
        reader = self.split.reader
        found: dict[str, CocoImage] = {}
        for name in self.split.names:
            instances = reader.instances(name)
            if instances is None:
                raise DataError(
                    f"{what} come from an instances file, but the layout of {reader.directory} has none"
                )
            found.update(instances)
        unknown = [image for image in self.homes if image not in found]
        if unknown:
            raise DataError(
                f"{reader.directory}: {len(unknown)} of the {len(self.homes)} {self.split.name} images are "
                f"not in the instances file, the first is {unknown[0]}"
            )
        return found


def refuse_shared_names(origin: Path | None, images: Iterable[tuple[str, str | PurePath]]) -> None:
    """Refuse two image files of one name, for one would be taken for the other.

    Args:
        origin: Where they come from, for the message.
        images: Name and file of each; the same may come several times.

    Raises:
        DataError: Two files have the same name.
    """
    files: dict[str, str | PurePath] = {}
    for name, file in images:
        first = files.setdefault(name, file)
        if first != file:
            raise DataError(
                f"{origin}: {first} and {file} are both called {name!r}, as folders and endings do not "
                "count; rename one of them"
            )


def _large_only(progress: StartProgress) -> StartProgress:
    """Shows the reading of files that take seconds, by their length."""
    return lambda description, total: (progress if total >= _LARGE_MEGABYTES else no_progress)(
        description, total
    )


def _refuse_repeated(examples: Sequence[TaskExample], origin: str) -> None:
    seen: set[int | str] = set()
    for example in examples:
        if example.identifier in seen:
            raise DataError(
                f"{origin}: {example.identifier} is in more than one of these splits; expected another id "
                "for each question (own lines without one are called as their file, whatever its folder)"
            )
        seen.add(example.identifier)

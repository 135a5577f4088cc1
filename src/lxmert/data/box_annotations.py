"""Annotated boxes for training a detector, with names from their files or ids from a vocabulary.

The classes and attributes of a data set are words, in lower case; `BoxVocabulary` fixes their ids. A box has
one class and any number of attributes. Readers: `read_coco_boxes` here, and `lxmert.data.visual_genome`.

Shapes: N boxes of one image.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.text_lines import read_lines
from lxmert.errors import DataError
from lxmert.vision.geometry import clip

AttributeNaming = Literal["combined", "single", "none"]
"""The attributes of a box: all values of its record joined to one, each value separately, or none."""


@dataclass(frozen=True)
class NamedBoxes:
    """One image and its boxes, with names.

    Attributes:
        image_id: the image's id.
        file_name: its file, relative to the folder of images.
        size_hw: height and width in pixels.
        boxes_xyxy_px: (N, 4) float32, inside the image, with positive width and height.
        objects: N class names, in lower case.
        attributes: for each box zero or more attribute names, in lower case.
    """

    image_id: int
    file_name: str
    size_hw: tuple[int, int]
    boxes_xyxy_px: Tensor
    objects: tuple[str, ...]
    attributes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.objects)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its boxes, with ids.

    Attributes:
        image_id: the image's id.
        path: its file.
        size_hw: height and width in pixels.
        boxes_xyxy_px: (N, 4) float32, inside the image, with positive width and height.
        object_ids: (N,) int64.
        attribute_ids: for each box zero or more attribute ids.
    """

    image_id: int
    path: Path
    size_hw: tuple[int, int]
    boxes_xyxy_px: Tensor
    object_ids: Tensor
    attribute_ids: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.object_ids)


@dataclass(frozen=True)
class NameList:
    """Names and their ids.

    Attributes:
        names: the names, by id.
        ids: the id of each name and of each of its synonyms.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]

    @classmethod
    def from_names(cls, names: Iterable[str]) -> "NameList":
        """A list of names without synonyms, in this order."""
        listed = tuple(names)
        return cls(listed, {name: number for number, name in enumerate(listed)})

    @classmethod
    def read(cls, path: str | Path) -> "NameList":
        """Read a vocabulary file: a name and, after commas, its synonyms in each line; ids are line indices.

        Raises:
            DataError: the file cannot be read, is empty, or has a line without a name or a name twice.
        """
        names: list[str] = []
        ids: dict[str, int] = {}
        for number, line in enumerate(read_lines(path, "vocabulary")):
            synonyms = normalise_words(line.split(","))
            if not synonyms:
                raise DataError(f"{path}: line {number + 1} has no name; expected one name per line")
            for name in synonyms:
                if ids.setdefault(name, number) != number:
                    raise DataError(
                        f"{path}: {name!r} occurs in line {ids[name] + 1} and in line {number + 1}"
                    )
            names.append(synonyms[0])
        if not names:
            raise DataError(f"{path}: the vocabulary is empty; expected one name per line")
        return cls(tuple(names), ids)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class BoxVocabulary:
    """The classes and the attributes of a data set."""

    objects: NameList
    attributes: NameList


def read_coco_boxes(
    path: str | Path,
    attributes: AttributeNaming = "combined",
    keys: Sequence[str] | None = None,
    *,
    progress: StartProgress = no_progress,
) -> list[NamedBoxes]:
    """Read an instances file; boxes of crowds, without area or outside their image are left out.

    Args:
        path: the file.
        attributes: "combined" joins the values of a record's "attributes" ("small solid red"); "single" takes
            each value by itself; "none" takes none.
        keys: which of the record's attributes count, and in which order; all, in the record's order,
            when None.
        progress: shows how far the file is read.

    Raises:
        DataError: the file is missing or malformed, an object's category has no name, or an image no size.
    """
    images = read_instances(path, progress=progress).values()
    return [_coco_to_named_boxes(image, attributes, keys, path) for image in images]


def _coco_to_named_boxes(
    image: CocoImage, naming: AttributeNaming, keys: Sequence[str] | None, path: str | Path
) -> NamedBoxes:
    if 0 in image.size_hw:
        raise DataError(
            f"{path}: image {image.image_id} has height and width {image.size_hw}, expected pixels"
        )
    boxes = clip(image.boxes_xyxy_px, image.size_hw)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    valid_rows = (inside & ~image.is_crowd).nonzero()[:, 0].tolist()
    objects = tuple(image.category_names[index].strip().lower() for index in valid_rows)
    if "" in objects:
        number = int(image.category_ids[valid_rows[objects.index("")]])
        raise DataError(
            f"{path}: image {image.image_id} has an object of category {number}, which has no name"
        )
    return NamedBoxes(
        image.image_id,
        image.file_name,
        image.size_hw,
        boxes[valid_rows],
        objects,
        tuple(_attribute_names(image.attributes[index], naming, keys) for index in valid_rows),
    )


def _attribute_names(
    values: Mapping[str, Any], naming: AttributeNaming, keys: Sequence[str] | None
) -> tuple[str, ...]:
    if naming == "none":
        return ()
    selected = (values.get(key) for key in (values if keys is None else keys))
    words = tuple(dict.fromkeys(normalise_words(value for value in selected if value is not None)))
    return (" ".join(words),) if naming == "combined" and words else words


def normalise_words(words: Iterable[Any]) -> list[str]:
    """Lower-case and strip words, leaving out empty ones."""
    stripped = (str(word).strip().lower() for word in words)
    return [word for word in stripped if word]


def collect_vocabulary(images: Iterable[NamedBoxes], min_count: int = 1) -> BoxVocabulary:
    """Collect the names that at least `min_count` boxes have, in alphabetical order."""
    objects: Counter[str] = Counter()
    attributes: Counter[str] = Counter()
    for image in images:
        objects.update(image.objects)
        attributes.update(name for names in image.attributes for name in names)

    def frequent_names(counts: Counter[str]) -> NameList:
        return NameList.from_names(sorted(name for name, count in counts.items() if count >= min_count))

    return BoxVocabulary(frequent_names(objects), frequent_names(attributes))


def encode_names(
    images: Sequence[NamedBoxes], vocabulary: BoxVocabulary, folder: Path
) -> list[AnnotatedImage]:
    """Replace names by ids, leaving out boxes of unknown classes, and unknown attributes."""
    object_ids, attribute_ids = vocabulary.objects.ids, vocabulary.attributes.ids
    annotated = []
    for image in images:
        known_rows = [index for index, name in enumerate(image.objects) if name in object_ids]
        annotated.append(
            AnnotatedImage(
                image.image_id,
                folder / image.file_name,
                image.size_hw,
                image.boxes_xyxy_px[known_rows],
                torch.tensor([object_ids[image.objects[index]] for index in known_rows], dtype=torch.int64),
                tuple(_known(image.attributes[index], attribute_ids) for index in known_rows),
            )
        )
    return annotated


def check_annotated_size(path: Path, size_hw: tuple[int, int], annotated_hw: tuple[int, int]) -> None:
    """Refuse an image of another size than its annotations are for.

    Args:
        path: the image's file, for the error.
        size_hw: its height and width in pixels, upright.
        annotated_hw: those in the annotations.

    Raises:
        DataError: the sizes differ, so that its boxes would be misplaced.
    """
    if size_hw == annotated_hw:
        return
    is_turned = size_hw == annotated_hw[::-1]
    remedy = "turn" if is_turned else "scale"
    reason = ", upright by its EXIF orientation" if is_turned else ""
    raise DataError(
        f"{path}: the image is {size_hw[1]}×{size_hw[0]} pixels (width×height){reason}, but its annotations "
        f"are for {annotated_hw[1]}×{annotated_hw[0]}; {remedy} the boxes and sizes in the annotations"
    )


def _known(names: Iterable[str], ids: Mapping[str, int]) -> tuple[int, ...]:
    """Ids of the names that have one, without duplicates, since names may be synonyms."""
    return tuple(dict.fromkeys(ids[name] for name in names if name in ids))

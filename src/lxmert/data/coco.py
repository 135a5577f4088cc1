"""Reader of COCO instance files: the images, their sizes, and the boxes of their objects.

Source: the COCO annotation format: `images: [{id, file_name, width, height}]`, `annotations: [{id, image_id,
category_id, bbox: [x, y, width, height], iscrowd}]`, `categories: [{id, name}]`, boxes in pixels.
Shapes: N objects of one image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxmert.data.interning import gc_disabled
from lxmert.data.json_files import JsonRecord, is_number
from lxmert.data.json_stream import stream_lists
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError


@dataclass(frozen=True)
class CocoImage:
    """One image of an instances file and its objects, in the file's order.

    Attributes:
        image_id: The image's id.
        file_name: Its file name as written in the file.
        size_hw: Height and width in pixels; 0 from converters that do not know them.
        boxes_xyxy_px: (N, 4) float32, corners x1, y1, x2, y2 in pixels.
        category_ids: (N,) int64, ids of `categories` of the file.
        category_names: The N names of these categories; "" where the file has none.
        attributes: The "attributes" of the N records (made scenes have some), {} where absent.
        is_crowd: (N,) bool, True where the box contains a crowd rather than one object.
    """

    image_id: int
    file_name: str
    size_hw: tuple[int, int]
    boxes_xyxy_px: Tensor
    category_ids: Tensor
    category_names: tuple[str, ...]
    attributes: tuple[Mapping[str, Any], ...]
    is_crowd: Tensor

    def __len__(self) -> int:
        return len(self.category_names)


class _Object(NamedTuple):
    """The fields kept of a record in `annotations`: not its outlines, which make up most of it."""

    category_id: int
    box_xyxy_px: tuple[float, float, float, float]
    attributes: Mapping[str, Any]
    is_crowd: bool


@gc_disabled()
def read_instances(path: str | Path, *, progress: StartProgress = no_progress) -> dict[int, CocoImage]:
    """Read a COCO instances file.

    Boxes whose width or height is 0, of which COCO's own files have a few, are left out.

    Args:
        path: The file.
        progress: Shows how much of the file has been read.

    Returns:
        All images of the file by id, including those without objects (their N is 0).

    Raises:
        DataError: The file is missing or malformed, an id occurs twice, an object names an unknown image, or
            a box is not four finite numbers, or has a negative width or height.
    """
    images: dict[int, JsonRecord] = {}
    names: dict[int, str] = {}
    objects: dict[int, list[_Object]] = {}
    places: dict[int, str] = {}
    for field, record in stream_lists(path, ("images", "annotations", "categories"), progress=progress):
        if field == "images":
            images[record.new_id("id", images)] = record
        elif field == "annotations":
            image_id = record.get("image_id", int)
            if image_id not in objects:
                objects[image_id], places[image_id] = [], record.at("image_id")
            obj = _object(record)
            if obj is not None:
                objects[image_id].append(obj)
        elif field == "categories":
            names[record.new_id("id", names)] = record.get("name", str)
    for image_id, place in places.items():
        if image_id not in images:
            raise DataError(f"{path}: {place} {image_id} is not among the file's images")
    return {image_id: _image(record, objects.get(image_id, ()), names) for image_id, record in images.items()}


def _image(record: JsonRecord, objects: Sequence[_Object], names: Mapping[int, str]) -> CocoImage:
    category_ids = [obj.category_id for obj in objects]
    boxes = torch.tensor([obj.box_xyxy_px for obj in objects], dtype=torch.float32).reshape(-1, 4)
    return CocoImage(
        image_id=record.get("id", int),
        file_name=record.get("file_name", str),
        size_hw=(record.integer("height", minimum=0), record.integer("width", minimum=0)),
        boxes_xyxy_px=boxes,
        category_ids=torch.tensor(category_ids, dtype=torch.int64),
        category_names=tuple(names.get(category_id, "") for category_id in category_ids),
        attributes=tuple(obj.attributes for obj in objects),
        is_crowd=torch.tensor([obj.is_crowd for obj in objects], dtype=torch.bool),
    )


def _object(record: JsonRecord) -> _Object | None:
    """The object; None if its box has no area."""
    x, y, width, height = _box_xywh(record)
    if width == 0 or height == 0:
        return None
    return _Object(
        category_id=record.integer("category_id"),
        box_xyxy_px=(x, y, x + width, y + height),
        attributes=record.optional("attributes", dict) or {},
        is_crowd=bool(record.value.get("iscrowd", 0)),
    )


def _box_xywh(record: JsonRecord) -> tuple[float, float, float, float]:
    box = record.get("bbox", list)
    if len(box) != 4 or not all(map(is_number, box)):
        raise DataError(
            f"{record.path}: {record.at('bbox')} is {box}, expected four numbers [x, y, width, height]"
        )
    x, y, width, height = map(float, box)
    if width < 0 or height < 0:
        raise DataError(f"{record.path}: {record.at('bbox')} is {box}, expected a positive width and height")
    return x, y, width, height

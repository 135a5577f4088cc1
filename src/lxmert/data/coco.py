"""Reader of COCO instance files: which images there are, how large, and where their objects lie.

Source: the COCO annotation format: `images: [{id, file_name, width, height}]`, `annotations: [{id, image_id,
category_id, bbox: [x, y, width, height], iscrowd}]`, `categories: [{id, name}]`, boxes in pixels.
Shapes: N objects of one image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lxmert.data.json_files import Record, is_number, read_json
from lxmert.errors import DataError


@dataclass(frozen=True)
class CocoImage:
    """One image of an instances file and its objects, in the file's order.

    Attributes:
        image_id: The image's id.
        file_name: Its file name as written in the file.
        size_hw: Height and width in pixels.
        boxes_xyxy_px: (N, 4) float32, corners x1, y1, x2, y2 in pixels.
        category_ids: (N,) int64, ids of `categories` of the file.
        category_names: The N names of these categories; "" where the file names none.
        attributes: The N records' own "attributes" (made scenes have shape words there), {} where absent.
        is_crowd: (N,) bool, True where the box holds a crowd rather than one object.
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


def read_instances(path: str | Path) -> dict[int, CocoImage]:
    """Read a COCO instances file.

    Boxes whose width or height is 0, of which COCO's own files have a few, are left out.

    Args:
        path: The file.

    Returns:
        Image id to image, every image of the file, those without objects too (their N is 0).

    Raises:
        DataError: The file is missing or malformed, an id occurs twice, an object names an unknown image, or
            a box is not four finite numbers, or has a negative width or height.
    """
    root = Record(read_json(path), path)
    images: dict[int, Record] = {}
    for record in root.records("images"):
        image_id = record.get("id", int)
        if image_id in images:
            raise DataError(f"{path}: {record.at('id')} {image_id} occurs twice")
        images[image_id] = record
    objects: dict[int, list[Record]] = {image_id: [] for image_id in images}
    for record in root.records("annotations"):
        image_id = record.get("image_id", int)
        if image_id not in objects:
            raise DataError(f"{path}: {record.at('image_id')} {image_id} is not among the file's images")
        if not _is_empty(record):
            objects[image_id].append(record)
    names = {record.get("id", int): record.get("name", str) for record in root.records("categories")}
    return {image_id: _image(record, objects[image_id], names) for image_id, record in images.items()}


def _image(record: Record, objects: list[Record], names: Mapping[int, str]) -> CocoImage:
    category_ids = [obj.get("category_id", int) for obj in objects]
    boxes = torch.tensor([_box_xyxy(obj) for obj in objects], dtype=torch.float32).reshape(-1, 4)
    return CocoImage(
        image_id=record.get("id", int),
        file_name=record.get("file_name", str),
        size_hw=(record.get("height", int), record.get("width", int)),
        boxes_xyxy_px=boxes,
        category_ids=torch.tensor(category_ids, dtype=torch.int64),
        category_names=tuple(names.get(category_id, "") for category_id in category_ids),
        attributes=tuple(obj.optional("attributes", dict) or {} for obj in objects),
        is_crowd=torch.tensor([bool(obj.value.get("iscrowd", 0)) for obj in objects], dtype=torch.bool),
    )


def _is_empty(record: Record) -> bool:
    return 0 in record.get("bbox", list)[2:4]


def _box_xyxy(record: Record) -> tuple[float, float, float, float]:
    box = record.get("bbox", list)
    if len(box) != 4 or not all(map(is_number, box)):
        raise DataError(
            f"{record.path}: {record.at('bbox')} is {box}, expected four numbers [x, y, width, height]"
        )
    x, y, width, height = map(float, box)
    if width < 0 or height < 0:
        raise DataError(f"{record.path}: {record.at('bbox')} is {box}, expected a positive width and height")
    return x, y, x + width, y + height

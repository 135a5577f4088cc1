"""Boxes in a JSON file, for models that need boxes."""

import json
from pathlib import Path

import torch
from torch import Tensor

from lxmert.atomic_files import write_atomic
from lxmert.errors import DataError

_MAX_COORDINATE = 1e9
"""In pixels; no picture is larger, and an integer of 400 digits would overflow."""


def read_boxes(path: Path) -> Tensor:
    """Read boxes from a JSON file: a list of [x1, y1, x2, y2], or an object with such a list under "boxes".

    Args:
        path: the file; coordinates are pixels of the picture, x to the right, y downwards.

    Returns:
        (N, 4) float32, N at least 1. Whether the boxes fit the picture is checked later, against the picture.

    Raises:
        DataError: no such file, not JSON, or not a non-empty list of four numbers each.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: the boxes cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON file: {error}") from error
    rows = content.get("boxes") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not rows:
        raise DataError(f'{path}: expected a non-empty list of boxes, or an object with one under "boxes"')
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 4 or not all(_is_number(value) for value in row):
            raise DataError(f"{path}: box {index} is {row!r}, expected four numbers [x1, y1, x2, y2]")
    return torch.tensor(rows, dtype=torch.float32)


def write_boxes(path: Path, boxes_xyxy_px: Tensor) -> None:
    """Write boxes (N, 4) so that `read_boxes` reads them back."""
    rows = [[round(float(value), 2) for value in row] for row in boxes_xyxy_px]
    write_atomic(path, json.dumps({"boxes": rows}) + "\n")


def _is_number(value: object) -> bool:
    """Whether a value can be a coordinate; NaN is left to the check against the picture."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > _MAX_COORDINATE

"""The original LXMERT feature files (`*_obj36.tsv`): lines to `Regions` and back.

One image per line, ten tab-separated fields, arrays as base64 of their little-endian bytes; see `FIELDS`. The
height precedes the width, and `num_boxes` follows the label arrays whose length it is. Source: the feature
extraction scripts of airsplay/lxmert.

Shapes: N objects of one image, D features per object.
"""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lxmert.data.feature_store import StoredArrays
from lxmert.data.feature_store.layout import name_from_bytes, name_to_bytes
from lxmert.errors import DataError
from lxmert.vision.regions import Regions

FIELDS = (
    "img_id",
    "img_h",
    "img_w",
    "objects_id",
    "objects_conf",
    "attrs_id",
    "attrs_conf",
    "num_boxes",
    "boxes",
    "features",
)
IMPORTED_EXTRACTOR = "imported-tsv"
"""Extractor name of imported features of unknown origin."""

_DTYPES: dict[str, np.dtype] = {
    "objects_id": np.dtype("<i8"),
    "objects_conf": np.dtype("<f4"),
    "attrs_id": np.dtype("<i8"),
    "attrs_conf": np.dtype("<f4"),
    "boxes": np.dtype("<f4"),
    "features": np.dtype("<f4"),
}

_LINE_END = b"\r\n"
"""Line end of Python's csv module, which wrote the original files."""

_INTEGER_FIELDS = ("img_h", "img_w", "num_boxes")
_MAX_DIGITS = 9

_MAX_LINE_BYTES = 2**28
"""A thousand boxes of 8,192 features take 44 MB; more than this is no feature file."""


class TsvRow(NamedTuple):
    """One image of a feature file.

    Attributes:
        name: its `img_id`.
        regions: its objects, boxes clamped to the image.
        unclamped_boxes: (N, 4) float32, before clamping.
    """

    name: str
    regions: Regions
    unclamped_boxes: np.ndarray


class TsvLine(NamedTuple):
    """A line of a feature file: its number from 1, its byte offset, and its bytes without the line end."""

    number: int
    offset: int
    content: bytes

    @property
    def name(self) -> str:
        """The first field."""
        return name_from_bytes(self.content.partition(b"\t")[0])


def read_lines(path: Path) -> Iterator[TsvLine]:
    """Read the non-empty lines of a feature file.

    Raises:
        DataError: no such file, or one with a line longer than any row.
    """
    try:
        with path.open("rb") as file:
            offset = 0
            number = 0
            while content := file.readline(_MAX_LINE_BYTES):
                number += 1
                if len(content) == _MAX_LINE_BYTES:
                    raise DataError(f"{path}: line {number} is longer than any row; expected a feature file")
                if content.strip():
                    yield TsvLine(number, offset, content.rstrip(b"\r\n"))
                offset += len(content)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder; expected a feature file") from None


def looks_like_row(content: bytes) -> bool:
    """Whether a line has the fields of a row and whole numbers in the right ones; arrays are not read."""
    fields = content.split(b"\t")
    return len(fields) == len(FIELDS) and all(fields[FIELDS.index(key)].isdigit() for key in _INTEGER_FIELDS)


def parse_row(content: bytes, extractor: str = IMPORTED_EXTRACTOR, feature_dim: int = 1) -> TsvRow:
    """Parse one line.

    Args:
        content: its bytes, without the line end.
        extractor: identity of what made the features.
        feature_dim: width of the features of a row without boxes, which does not show it.

    Raises:
        DataError: not ten fields, invalid numbers or base64, or arrays that are not of `num_boxes` objects.
        RegionsError: impossible numbers: boxes outside the image, scores outside 0..1, NaN.
    """
    values = content.split(b"\t")
    if len(values) != len(FIELDS):
        raise DataError(f"{len(values)} fields, expected {len(FIELDS)}: {', '.join(FIELDS)}")
    fields = dict(zip(FIELDS, values, strict=True))
    height, width, box_count = (_parse_integer(fields, key) for key in _INTEGER_FIELDS)
    arrays = {key: _decode_array(fields[key], key, dtype, box_count) for key, dtype in _DTYPES.items()}
    if box_count == 0:
        arrays["features"] = np.zeros((0, feature_dim), np.float32)
    regions = Regions(
        boxes_xyxy_px=torch.from_numpy(arrays["boxes"]),
        features=torch.from_numpy(arrays["features"]),
        size_hw=(height, width),
        extractor=extractor,
        object_ids=torch.from_numpy(arrays["objects_id"]),
        object_scores=torch.from_numpy(arrays["objects_conf"]),
        attribute_ids=torch.from_numpy(arrays["attrs_id"]),
        attribute_scores=torch.from_numpy(arrays["attrs_conf"]),
    )
    return TsvRow(name_from_bytes(fields["img_id"]), regions, arrays["boxes"])


def format_row(name: str, arrays: StoredArrays) -> bytes:
    """The inverse of `parse_row`, line end included: the same numbers, bit for bit.

    Missing labels become zeros, because the format cannot express their absence.

    Raises:
        DataError: the name holds a tab or a line end.
    """
    if set("\t\r\n") & set(name):
        raise DataError(f"the name {name!r} contains a tab or line end, which a feature file cannot store")
    objects = len(arrays.boxes_xyxy_px)
    arrays_by_field = {
        "objects_id": arrays.object_ids,
        "objects_conf": arrays.object_scores,
        "attrs_id": arrays.attribute_ids,
        "attrs_conf": arrays.attribute_scores,
        "boxes": arrays.boxes_xyxy_px,
        "features": arrays.features,
    }
    texts = {
        "img_id": name_to_bytes(name),
        "img_h": b"%d" % arrays.size_hw[0],
        "img_w": b"%d" % arrays.size_hw[1],
        "num_boxes": b"%d" % objects,
    }
    for key, values in arrays_by_field.items():
        present = np.zeros(objects) if values is None else values
        texts[key] = base64.b64encode(present.astype(_DTYPES[key]).tobytes())
    return b"\t".join(texts[key] for key in FIELDS) + _LINE_END


def _parse_integer(fields: dict[str, bytes], key: str) -> int:
    if not fields[key].isdigit() or len(fields[key]) > _MAX_DIGITS:
        raise DataError(f"{key} is {_short_repr(fields[key])}, expected a whole number")
    return int(fields[key])


def _decode_array(text: bytes, key: str, dtype: np.dtype, objects: int) -> np.ndarray:
    if text[:2] in (b"b'", b'b"') and len(text) > 2:
        text = text[2:-1]  # Written by Python 3 without decoding: b'…' of a bytes object.
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{key} is not base64 ({error})") from error
    per_object = {"boxes": 4, "features": None}.get(key, 1)
    rest = len(data) % (dtype.itemsize * objects) if objects else len(data)
    if rest or (per_object is not None and len(data) != objects * per_object * dtype.itemsize):
        raise DataError(
            f"{key} has {len(data):,} bytes, expected {per_object or 'D'} × {dtype.itemsize} for each of "
            f"{objects} boxes"
        )
    # A copy, because torch requires writable memory.
    values = np.frombuffer(bytearray(data), dtype)
    return (
        values if per_object == 1 else values.reshape(objects, per_object or len(values) // max(objects, 1))
    )


def _short_repr(text: bytes) -> str:
    return repr(text[:40].decode("utf-8", "replace"))

"""The byte layout of a feature store: its files and their contents (docs/features.md).

Everything is little-endian. A part of a store is four files of one writer: `.data` (numbers), `.names`
(text), `.index` (one fixed-size entry per image) and `.synced` (how many images are known to be on the disk).

Shapes: N objects of one image, D features per object.
"""

import math
import re
import struct
import zlib
from functools import lru_cache
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

FORMAT_NAME = "lxmert-feature-store"
FORMAT_VERSION = 1

DTYPES: dict[str, np.dtype] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
"""The dtypes in which features may be stored."""

RECORD_ALIGNMENT = 64
"""Each image's numbers start at a multiple of this many bytes of the data file: a cache line."""

_ARRAY_ALIGNMENT = 16

_FIELDS = struct.Struct("<QQQQIIIIIII")
_CHECKSUM = struct.Struct("<I")
ENTRY_BYTES = _FIELDS.size + _CHECKSUM.size
ENTRY_DTYPE = np.dtype(
    {
        "names": ["data_offset", "name_hash", "objects", "height", "width", "flags", "data_crc32"],
        "formats": ["<u8", "<u8", "<u4", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 24, 36, 40, 44, 48, 52],
        "itemsize": ENTRY_BYTES,
    }
)
"""The fields of an entry that are read for many images at once."""

HAS_OBJECT_IDS = 1
HAS_OBJECT_SCORES = 2
HAS_ATTRIBUTE_IDS = 4
HAS_ATTRIBUTE_SCORES = 8
HAS_UNCLAMPED_BOXES = 16
"""A box leaves its image by a rounding error; it is stored unclamped and clamped when regions are read."""

LABELS: dict[str, tuple[int, np.dtype]] = {
    "object_ids": (HAS_OBJECT_IDS, np.dtype("<i8")),
    "object_scores": (HAS_OBJECT_SCORES, np.dtype("<f4")),
    "attribute_ids": (HAS_ATTRIBUTE_IDS, np.dtype("<i8")),
    "attribute_scores": (HAS_ATTRIBUTE_SCORES, np.dtype("<f4")),
}
"""Optional arrays of N numbers: the flag that says an image has them, and how they are stored."""

_FINGERPRINT_BYTES = 4
"""All that an entry has room for; one edit in four billion goes unnoticed."""

_PART_FILE = re.compile(r"rank-(\d{5})-part-(\d{5})\.(?:data|names|index|synced)")


class Entry(NamedTuple):
    """One image's entry in the index.

    Attributes:
        data_offset: where its numbers start in the data file, in bytes.
        data_bytes: how many bytes they are.
        name_offset: where its name starts in the names file, in bytes.
        name_hash: `hash_name` of the name.
        name_bytes: length of the name in bytes, without the line end.
        objects: number of objects N.
        height: of the image in pixels.
        width: of the image in pixels.
        flags: the `HAS_…` bits.
        data_crc32: of the numbers.
        fingerprint: of the image file; 0 if unknown.
    """

    data_offset: int
    data_bytes: int
    name_offset: int
    name_hash: int
    name_bytes: int
    objects: int
    height: int
    width: int
    flags: int
    data_crc32: int
    fingerprint: int = 0

    def pack(self) -> bytes:
        """The entry's 64 bytes, its own checksum last."""
        fields = _FIELDS.pack(*self)
        return fields + _CHECKSUM.pack(zlib.crc32(fields))

    @classmethod
    def unpack(cls, index: memoryview, row: int) -> Self:
        """Entry number `row` of an index."""
        return cls._make(_FIELDS.unpack_from(index, row * ENTRY_BYTES))


def is_entry_intact(index: memoryview, row: int) -> bool:
    """Whether the checksum of entry number `row` is correct."""
    start = row * ENTRY_BYTES
    end = start + _FIELDS.size
    (stored,) = _CHECKSUM.unpack_from(index, end)
    return bool(zlib.crc32(index[start:end]) == stored)


class Array(NamedTuple):
    """The position of one array of an image, in bytes from the start of its record."""

    name: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


class RecordLayout(NamedTuple):
    """The arrays of an image's record: features first, then the small ones, boxes and labels.

    Attributes:
        arrays: all of them, in order.
        small_offset: where the first of the small ones starts, in bytes from the start of the record.
        size: bytes of the whole record.
    """

    arrays: tuple[Array, ...]
    small_offset: int
    size: int


@lru_cache(maxsize=4096)
def record_layout(objects: int, feature_dim: int, dtype: str, flags: int) -> RecordLayout:
    """The layout of the record of an image with N objects."""
    specifications: list[tuple[str, tuple[int, ...], np.dtype]] = [
        ("features", (objects, feature_dim), DTYPES[dtype]),
        ("boxes_xyxy_px", (objects, 4), np.dtype("<f4")),
    ]
    specifications += [(name, (objects,), stored) for name, (flag, stored) in LABELS.items() if flags & flag]
    arrays: list[Array] = []
    end = 0
    for name, shape, stored in specifications:
        start = align_up(end, _ARRAY_ALIGNMENT)
        arrays.append(Array(name, start, shape, stored))
        end = start + math.prod(shape) * stored.itemsize
    return RecordLayout(tuple(arrays), arrays[1].offset, end)


def align_up(offset: int, alignment: int = RECORD_ALIGNMENT) -> int:
    """The next multiple of `alignment`."""
    return -(-offset // alignment) * alignment


def name_to_bytes(name: str) -> bytes:
    """Encode as UTF-8; bytes of a file name that are not UTF-8 (Python's surrogates) are preserved."""
    return name.encode("utf-8", "surrogateescape")


def name_from_bytes(data: bytes) -> str:
    """The inverse of `name_to_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def hash_name(name: bytes) -> int:
    """The first 8 bytes of BLAKE2b, as an unsigned integer."""
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def fingerprint_of_file(path: Path) -> int:
    """The first 4 bytes of BLAKE2b of a file's content, as an unsigned integer; it is read in chunks.

    0, which means unknown, if it cannot be read or is not a file.
    """
    try:
        if not path.is_file():  # Opening a pipe would block until somebody writes to it.
            return 0
        with path.open("rb") as file:
            digest = file_digest(file, lambda: blake2b(digest_size=_FINGERPRINT_BYTES)).digest()
    except (OSError, ValueError):  # ValueError: a path with a zero byte.
        return 0
    return int.from_bytes(digest, "little")


class PartFiles(NamedTuple):
    """The four files of part number `part` that rank `rank` wrote."""

    folder: Path
    rank: int
    part: int

    def path(self, kind: str) -> Path:
        """Path of its "data", "names", "index" or "synced" file."""
        return self.folder / f"rank-{self.rank:05d}-part-{self.part:05d}.{kind}"

    def synced_count(self) -> int | None:
        """How many images are known to be on the disk; None if the file that says so is missing or empty."""
        try:
            return int(self.path("synced").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def list_parts(folder: Path) -> list[PartFiles]:
    """All parts of a store, ordered by rank, then part, including those with some or all files missing.

    A rank counts its parts from 0, so a later part proves the existence of an earlier one.
    """
    last: dict[int, int] = {}
    for match in filter(None, (_PART_FILE.fullmatch(path.name) for path in folder.iterdir())):
        rank, part = int(match[1]), int(match[2])
        last[rank] = max(part, last.get(rank, 0))
    return [PartFiles(folder, rank, part) for rank in sorted(last) for part in range(last[rank] + 1)]

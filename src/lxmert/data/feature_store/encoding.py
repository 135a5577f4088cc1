"""Encoding and decoding of one image's `Regions` as the bytes of a store.

Shapes: N objects of one image, D features per object.
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lxmert.data.feature_store.layout import (
    HAS_UNCLAMPED_BOXES,
    LABELS,
    Entry,
    hash_name,
    name_to_bytes,
    record_layout,
)
from lxmert.data.feature_store.manifest import StoreManifest
from lxmert.errors import DataError, RegionsError
from lxmert.vision.regions import Regions

_MAX_NAME_BYTES = 65_535

TORCH_DTYPES = {"float16": torch.float16, "float32": torch.float32}

_MAX_SERIAL_COPY = 32_000
"""torch splits longer copies among threads, and on a busy machine waits long for the last of them."""


@dataclass(frozen=True, eq=False)
class StoredArrays:
    """One image's numbers exactly as they are stored.

    Attributes:
        features: (N, D) float16 or float32.
        boxes_xyxy_px: (N, 4) float32, unclamped: up to one pixel outside the image.
        size_hw: height and width of the image in pixels.
        object_ids: (N,) int64, or None; likewise the other labels, with scores in float32.
    """

    features: np.ndarray
    boxes_xyxy_px: np.ndarray
    size_hw: tuple[int, int]
    object_ids: np.ndarray | None = None
    object_scores: np.ndarray | None = None
    attribute_ids: np.ndarray | None = None
    attribute_scores: np.ndarray | None = None


class _ClaimedWritable:
    """The memory of a read-only array, said to be writable."""

    def __init__(self, array: np.ndarray) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self._owner = array  # Keeps the memory mapped.


def view_as_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array that may be read-only; writing to it would then end the process.

    `torch.from_numpy` would warn, and suppressing a warning affects all threads.
    """
    return torch.from_numpy(np.asarray(_ClaimedWritable(array)))


class EncodedImage(NamedTuple):
    """The bytes of one image, ready to be appended to a store; small enough to pass between processes.

    Attributes:
        name: UTF-8 name.
        record: all its numbers.
        objects: N.
        size_hw: height and width in pixels.
        flags: see `layout`.
        crc32: of the record.
        fingerprint: of the image file; 0 if unknown.
    """

    name: bytes
    record: bytes
    objects: int
    size_hw: tuple[int, int]
    flags: int
    crc32: int
    fingerprint: int = 0

    def entry(self, data_offset: int, name_offset: int) -> Entry:
        """Its index entry, given its offsets in the data and names files."""
        return Entry(
            data_offset=data_offset,
            data_bytes=len(self.record),
            name_offset=name_offset,
            name_hash=hash_name(self.name),
            name_bytes=len(self.name),
            objects=self.objects,
            height=self.size_hw[0],
            width=self.size_hw[1],
            flags=self.flags,
            data_crc32=self.crc32,
            fingerprint=self.fingerprint,
        )


def encode_image(
    name: str, regions: Regions, manifest: StoreManifest, unclamped_boxes: np.ndarray | None = None
) -> EncodedImage:
    """Encode the regions of one image as the bytes of a store.

    Args:
        name: the image's name.
        regions: made by the manifest's extractor, on any device.
        manifest: the store's.
        unclamped_boxes: (N, 4) float32, before clamping; stored where they differ from those of `regions`.

    Raises:
        DataError: the name is empty or not a string.
        RegionsError: another extractor or width than the store's, or numbers out of its dtype's range.
    """
    encoded_name = _validate_name(name)
    _check_compatible(name, regions, manifest)
    boxes = regions.boxes_xyxy_px.cpu().numpy()
    flags = 0
    if unclamped_boxes is not None and not np.array_equal(boxes, unclamped_boxes):
        boxes, flags = unclamped_boxes, HAS_UNCLAMPED_BOXES
    numbers = {"features": regions.features.cpu().numpy(), "boxes_xyxy_px": boxes}
    for label, (flag, _) in LABELS.items():
        if (tensor := getattr(regions, label)) is not None:
            numbers[label] = tensor.cpu().numpy()
            flags |= flag
    layout = record_layout(len(regions), manifest.feature_dim, manifest.feature_dtype, flags)
    record = bytearray(layout.size)
    for array_name, offset, shape, dtype in layout.arrays:
        target: np.ndarray = np.ndarray(shape, dtype, record, offset)
        target[...] = _cast(f"{name}: {array_name}", numbers[array_name], dtype)
    return EncodedImage(encoded_name, bytes(record), len(regions), regions.size_hw, flags, zlib.crc32(record))


def view_arrays(data: memoryview, entry: Entry, manifest: StoreManifest) -> StoredArrays:
    """The arrays of one image as views into the bytes of its data file; nothing is copied."""
    layout = record_layout(entry.objects, manifest.feature_dim, manifest.feature_dtype, entry.flags)
    start = entry.data_offset
    views: dict[str, np.ndarray] = {
        name: np.ndarray(shape, dtype, data, start + offset) for name, offset, shape, dtype in layout.arrays
    }
    return StoredArrays(**views, size_hw=(entry.height, entry.width))


def read_regions(data: memoryview, entry: Entry, manifest: StoreManifest) -> Regions:
    """Copy the regions of one image out of the bytes of its data file."""
    layout = record_layout(entry.objects, manifest.feature_dim, manifest.feature_dtype, entry.flags)
    start = entry.data_offset
    stored: np.ndarray = np.ndarray(layout.arrays[0].shape, layout.arrays[0].dtype, data, start)
    if manifest.feature_dtype == "float32":
        # numpy's overhead for a copy is a third of torch's.
        features = torch.from_numpy(stored.copy())
    else:
        # torch converts ten times as fast as numpy.
        features = torch.empty(stored.shape)
        copy_serially(view_as_tensor(stored).view(-1), features.view(-1))
    # One copy for all small arrays: five would take as long as reading the features of a small extractor.
    small = bytearray(data[start + layout.small_offset : start + layout.size])
    tensors = {
        name: torch.from_numpy(np.ndarray(shape, dtype, small, offset - layout.small_offset))
        for name, offset, shape, dtype in layout.arrays[1:]
    }
    # Every number was checked before it was written; only boxes stored unclamped must still be clamped.
    construct = Regions if entry.flags & HAS_UNCLAMPED_BOXES else Regions.from_validated
    return construct(
        features=features,
        size_hw=(entry.height, entry.width),
        extractor=manifest.extractor,
        **tensors,
    )


def copy_serially(stored: Tensor, out: Tensor) -> None:
    """Copy numbers (n,) into a tensor (n,) of any floating dtype, on this thread alone."""
    if torch.get_num_threads() == 1:  # As in a DataLoader's workers.
        out.copy_(stored)
        return
    for start in range(0, len(out), _MAX_SERIAL_COPY):
        out[start : start + _MAX_SERIAL_COPY] = stored[start : start + _MAX_SERIAL_COPY]


def read_name(names: memoryview, entry: Entry) -> bytes:
    """The encoded name of an image, from the bytes of its names file; see `name_from_bytes`."""
    return bytes(names[entry.name_offset : entry.name_offset + entry.name_bytes])


def _validate_name(name: str) -> bytes:
    if not isinstance(name, str) or not name:
        raise DataError(f"an image's name is {name!r}; expected a string of at least one character")
    try:
        encoded = name_to_bytes(name)
    except UnicodeEncodeError as error:
        raise DataError(f"the image name {name!r} cannot be written as UTF-8; rename the image") from error
    if len(encoded) > _MAX_NAME_BYTES:
        raise DataError(
            f"the image name {name[:40]!r}… has {len(encoded):,} bytes; the maximum is {_MAX_NAME_BYTES:,}"
        )
    return encoded


def _check_compatible(name: str, regions: Regions, manifest: StoreManifest) -> None:
    if regions.extractor != manifest.extractor:
        raise RegionsError(
            f"{name}: its regions were made by {regions.extractor!r}, but those in the store by "
            f"{manifest.extractor!r}; expected one extractor per store"
        )
    if regions.feature_dim != manifest.feature_dim:
        raise RegionsError(
            f"{name}: {regions.feature_dim} features per object, but the store has {manifest.feature_dim}"
        )


def _cast(what: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if values.dtype == dtype or not values.size:
        return values
    largest = float(np.abs(values).max())
    if largest > float(np.finfo(dtype).max):
        raise RegionsError(
            f"{what} reach {largest:g}, more than {dtype.name} can hold (65504); store them as float32"
        )
    return values.astype(dtype)

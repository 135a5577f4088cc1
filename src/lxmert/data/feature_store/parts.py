"""One part of a store on disk: how many of its images are complete, and cutting off what a crash left behind.

An image is written in the order numbers, name, index entry, and from time to time all of it is forced to the
disk (`.synced` says up to which image). After a killed process every entry that is there is good; after a
power failure those beyond `.synced` may be there without their numbers, so they are checked. That loses
little, because `.synced` is never far behind; if it is lost, a damaged image does not end the part.
"""

import mmap
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from lxmert.data.feature_store.layout import (
    ENTRY_BYTES,
    ENTRY_DTYPE,
    Entry,
    PartFiles,
    align_up,
    hash_name,
    is_entry_intact,
    record_layout,
)
from lxmert.data.feature_store.manifest import StoreManifest
from lxmert.errors import DataError


class Extent(NamedTuple):
    """How far the first images of a part reach: their number, and where their bytes end in each file.

    Each image begins where those before it end, so what its entry must say follows from their extent.
    """

    images: int = 0
    data_end: int = 0
    names_end: int = 0

    @classmethod
    def before_entry(cls, entry: Entry, row: int) -> Self:
        """The extent of the images before number `row`, by the word of its own entry."""
        return cls(row, entry.data_offset, entry.name_offset)

    @property
    def sizes(self) -> dict[str, int]:
        """How many bytes the images take of each kind of file."""
        return {"index": self.images * ENTRY_BYTES, "names": self.names_end, "data": self.data_end}

    @property
    def next_data_offset(self) -> int:
        """Where the next image's numbers start."""
        return align_up(self.data_end)

    def after(self, entry: Entry) -> "Extent":
        """The extent with one more image."""
        names_end = entry.name_offset + entry.name_bytes + 1  # Each name ends its line.
        return Extent(self.images + 1, entry.data_offset + entry.data_bytes, names_end)


def map_file(path: Path, size: int) -> memoryview:
    """The first `size` bytes of a file, mapped read-only.

    The system would count a mapping that may be written to as memory of each process, however little is read.
    """
    if size == 0:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))


def measure_extent(files: PartFiles, manifest: StoreManifest) -> Extent:
    """How far the complete images of a part reach.

    Those that were forced to the disk are believed; those after them are checked, up to the first that is
    not complete. If it is unknown how many were forced, all are checked, up to the last that is complete:
    any of them may be damaged, but no complete one is given up.

    Raises:
        DataError: a file is missing, or shorter than what was once on the disk, as after an incomplete copy.
    """
    # In this order, the reverse of a writer's: what it adds meanwhile is beyond what is looked for.
    known_count = files.synced_count()
    synced = known_count or 0
    sizes = {kind: _size(files.path(kind)) for kind in ("index", "data", "names")}
    _reject_missing(files, sizes)
    entries = sizes["index"] // ENTRY_BYTES
    if synced > entries:
        raise DataError(
            f"{files.path('index')}: has {entries} images, but {synced} were written; get the file again, "
            f"or delete {files.path('synced').name} to use the images that are there"
        )
    index = map_file(files.path("index"), entries * ENTRY_BYTES)
    extent = _synced_extent(files, index, synced, sizes) if synced else Extent()
    if synced == entries:
        return extent
    data, names = (map_file(files.path(kind), sizes[kind]) for kind in ("data", "names"))

    def after_complete(row: int, before: Extent) -> Extent | None:
        """The extent with image `row`; None if it is not complete."""
        entry = Entry.unpack(index, row)
        if not is_entry_intact(index, row) or image_faults(entry, before, data, names, manifest):
            return None
        return before.after(entry)

    while extent.images < entries and (longer := after_complete(extent.images, extent)):
        extent = longer
    if known_count is None:
        for row in range(entries - 1, extent.images, -1):
            if longer := after_complete(row, Extent.before_entry(Entry.unpack(index, row), row)):
                return longer
    return extent


def _reject_missing(files: PartFiles, sizes: Mapping[str, int]) -> None:
    """A writer makes all files of a part before it writes to one; killed meanwhile it leaves empty ones."""
    missing = [kind for kind in sizes if not files.path(kind).exists()]
    if missing and (any(sizes.values()) or len(missing) == len(sizes)):
        raise DataError(f"{files.path(missing[0])}: no such file; the copy is incomplete, get it again")


def _synced_extent(files: PartFiles, index: memoryview, synced: int, sizes: Mapping[str, int]) -> Extent:
    """The extent of the images that were forced to the disk, by the entry of the last one."""
    row = synced - 1
    last = Entry.unpack(index, row)
    if not is_entry_intact(index, row):
        raise DataError(f"{files.path('index')}: the entry of image {row} is damaged; get the file again")
    extent = Extent.before_entry(last, row).after(last)
    if extent.data_end > sizes["data"] or extent.names_end > sizes["names"]:
        raise DataError(
            f"{files.path('data')}: {sizes['data']:,} of the {extent.data_end:,} bytes written (names: "
            f"{sizes['names']:,} of {extent.names_end:,}); the copy is incomplete, get it again"
        )
    return extent


def image_faults(
    entry: Entry, before: Extent, data: memoryview, names: memoryview, manifest: StoreManifest
) -> list[str]:
    """What is wrong with the bytes of one image, given the extent of those before it."""
    if (entry.data_offset, entry.name_offset) != (before.next_data_offset, before.names_end):
        return ["its index entry points to the wrong place"]
    after = before.after(entry)
    layout = record_layout(entry.objects, manifest.feature_dim, manifest.feature_dtype, entry.flags)
    if entry.data_bytes != layout.size:
        return [f"{entry.data_bytes} bytes of numbers, expected {layout.size} for {entry.objects} objects"]
    if after.data_end > len(data) or after.names_end > len(names):
        return ["its data is truncated"]
    faults = []
    if zlib.crc32(data[entry.data_offset : after.data_end]) != entry.data_crc32:
        faults.append("the checksum of its numbers is wrong")
    if hash_name(names[entry.name_offset : after.names_end - 1].tobytes()) != entry.name_hash:
        faults.append("the checksum of its name is wrong")
    return faults


def check_entry_offsets(index: memoryview, extent: Extent, files: PartFiles, manifest: StoreManifest) -> None:
    """See that the numbers of all images lie in the data file, and that no image is without pixels.

    Checksums are not looked at: whoever means harm makes them right.

    Raises:
        DataError: an entry says otherwise.
    """
    entries = np.frombuffer(index, ENTRY_DTYPE)
    objects_and_flags = entries["objects"].astype(np.uint64) << 32 | entries["flags"]
    kinds, kind_of_image = np.unique(objects_and_flags, return_inverse=True)
    upper_bound = extent.data_end + 1  # Stands for all that is more, which may be more than numpy can count.
    layouts = (
        record_layout(kind >> 32, manifest.feature_dim, manifest.feature_dtype, kind & 0xFFFF_FFFF)
        for kind in kinds.tolist()
    )
    sizes = np.array([min(layout.size, upper_bound) for layout in layouts], np.int64)[kind_of_image]
    ends = np.minimum(entries["data_offset"], upper_bound).astype(np.int64) + sizes
    wrong = (ends > extent.data_end) | (entries["height"] == 0) | (entries["width"] == 0)
    if wrong.any():
        raise DataError(
            f"{files.path('index')}: the entry of image {int(wrong.argmax())} is damaged; get the file "
            "again, or run `lxmert features verify` for details"
        )


def truncate_part(files: PartFiles, extent: Extent) -> int:
    """Cut off what follows the complete images; returns its number of bytes."""
    removed_bytes = 0
    for kind, size in extent.sizes.items():
        path = files.path(kind)
        if (file_size := _size(path)) > size:
            removed_bytes += file_size - size
            os.truncate(path, size)
    return removed_bytes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

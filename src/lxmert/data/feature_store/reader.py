"""Reading a feature store: memory-mapped, by name or by position, from any number of processes.

Shapes: N objects of one image, D features per object.
"""

from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lxmert.data.feature_store.batches import copy_images
from lxmert.data.feature_store.encoding import StoredArrays, read_name, read_regions, view_arrays
from lxmert.data.feature_store.layout import (
    ENTRY_BYTES,
    ENTRY_DTYPE,
    Entry,
    PartFiles,
    hash_name,
    list_parts,
    name_from_bytes,
    name_to_bytes,
)
from lxmert.data.feature_store.manifest import StoreManifest
from lxmert.data.feature_store.parts import Extent, check_entry_offsets, map_file, measure_extent
from lxmert.data.feature_store.positions import group_by_part, locate
from lxmert.errors import DataError
from lxmert.vision.regions import Regions


class FeatureStore:
    """The regions of many images on disk, as they were when the store was opened.

    Images have a position, 0 to len - 1: those of each writer in the order written, ranks in turn. A store
    may be passed to other processes (a DataLoader's workers): each maps the files itself when it first
    reads, and the pages read are shared by all of them.

    Args:
        path: the store's folder.

    Raises:
        DataError: there is no store, or it is malformed.

    Example::

        store = FeatureStore("coco-features")
        regions = store["COCO_val2014_000000000042.jpg"]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = StoreManifest.read(self.path)
        # Files are mapped when first read, perhaps from another working directory.
        parts = list_parts(self.path.absolute())
        self._extents = [(files, measure_extent(files, self.manifest)) for files in parts]
        self._reset_maps()

    @property
    def extractor(self) -> str:
        """Identity of what made the features."""
        return self.manifest.extractor

    @property
    def feature_dim(self) -> int:
        """Number of features per object D."""
        return self.manifest.feature_dim

    @property
    def names(self) -> tuple[str, ...]:
        """All names, by position."""
        return tuple(self)

    def __len__(self) -> int:
        """Number of images."""
        return self._starts[-1]

    def __iter__(self) -> Iterator[str]:
        """The names, by position."""
        return (self.name_at(position) for position in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __getitem__(self, name: str) -> Regions:
        """The regions of the image of this name; see `regions_at`.

        Raises:
            DataError: no image of this name.
        """
        return self.regions_at(self.position(name))

    def position(self, name: str) -> int:
        """The position of the image of this name.

        Raises:
            DataError: no image of this name.
        """
        position = self.find(name) if isinstance(name, str) else None
        if position is None:
            example = f"; names look like {self.name_at(0)!r}" if len(self) else ""
            raise DataError(f"{self.path}: no image {name!r} among its {len(self):,} images{example}")
        return position

    def find(self, name: str) -> int | None:
        """The position of the image of this name, or None."""
        try:
            encoded = name_to_bytes(name)
        except UnicodeEncodeError:
            return None
        hashes, positions = self._hashes
        name_hash = hash_name(encoded)
        row = bisect_left(hashes, name_hash)
        while row < len(hashes) and hashes[row] == name_hash:
            position = positions[row]
            part, entry = self._locate(position)
            if read_name(part.names, entry) == encoded:
                return position
            row += 1
        return None

    def name_at(self, position: int) -> str:
        """The name of the image at this position."""
        part, entry = self._locate(position)
        return name_from_bytes(read_name(part.names, entry))

    def regions_at(self, position: int) -> Regions:
        """The regions of the image at this position, float32, in memory of their own."""
        part, entry = self._locate(position)
        return read_regions(part.data, entry, self.manifest)

    def arrays_at(self, position: int) -> StoredArrays:
        """The numbers of the image at this position as stored: read-only views, no copies."""
        part, entry = self._locate(position)
        return view_arrays(part.data, entry, self.manifest)

    def read_batch(
        self,
        positions: np.ndarray,
        features: Tensor,
        boxes_xyxy_px: np.ndarray,
        rows: np.ndarray | None = None,
    ) -> np.ndarray:
        """Write features and boxes of the images at these positions into the rows of a batch.

        Args:
            positions: (I,) of the images.
            features: (B, O, D), contiguous, of any floating dtype; rows after an image's N objects are left
                unchanged.
            boxes_xyxy_px: (B, O, 4) float32, contiguous; boxes are written unclamped, see `StoredArrays`.
            rows: (I,) row of the batch of each image; None for 0 to I - 1.

        Returns:
            height and width of each image in pixels, (I, 2) int64.

        Raises:
            DataError: no image at a position, or too little room for an image's objects.
        """
        rows = np.arange(len(positions)) if rows is None else rows
        sizes_hw = np.empty((len(positions), 2), np.int64)
        for number, in_part, part_positions in group_by_part(positions, self._starts, self.path):
            part = self._parts[number]
            entries = part.entries[part_positions]
            self._check_output_shapes(entries, features, boxes_xyxy_px)
            copy_images(part.data, entries, self.manifest, rows[in_part], features, boxes_xyxy_px)
            sizes_hw[in_part] = np.stack([entries["height"], entries["width"]], axis=1)
        return sizes_hw

    def fingerprint_at(self, position: int) -> int:
        """The image file's `fingerprint_of_file`; 0 if it was not recorded."""
        return self._locate(position)[1].fingerprint

    def content_hash(self) -> str:
        """SHA-256 of the index, whose checksums of all names and numbers differ for other content."""
        digest = sha256()
        for part in self._parts:
            digest.update(part.index)
        return digest.hexdigest()

    def object_counts(self) -> np.ndarray:
        """Number of objects N of each image by position, (len,) uint32; no feature is read."""
        return self._column("objects")

    def flags(self) -> np.ndarray:
        """The `HAS_…` bits (see `layout`) of each image by position, (len,) uint32."""
        return self._column("flags")

    def checksums(self) -> np.ndarray:
        """CRC-32 of the stored numbers of each image by position, (len,) uint32; no feature is read."""
        return self._column("data_crc32")

    def parts(self) -> list[tuple[PartFiles, Extent]]:
        """The store's parts and the extent of each when the store was opened."""
        return list(self._extents)

    def _check_output_shapes(self, entries: np.ndarray, features: Tensor, boxes_xyxy_px: np.ndarray) -> None:
        objects = int(entries["objects"].max())
        capacity, dim = features.shape[1:]
        if objects > capacity or dim != self.feature_dim or boxes_xyxy_px.shape != (*features.shape[:2], 4):
            raise DataError(
                f"{self.path}: the images have up to {objects} objects with {self.feature_dim} features "
                f"each, but the arrays to fill have shape {tuple(features.shape)} for features and "
                f"{boxes_xyxy_px.shape} for boxes"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "manifest": self.manifest, "_extents": self._extents}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset_maps()

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}, {len(self)} images, extractor={self.extractor!r})"

    def _reset_maps(self) -> None:
        self._parts = [_MappedPart(files, extent, self.manifest) for files, extent in self._extents]
        self._starts = [0]
        for _, extent in self._extents:
            self._starts.append(self._starts[-1] + extent.images)
        self.__dict__.pop("_hashes", None)

    def _locate(self, position: int) -> tuple["_MappedPart", Entry]:
        number, part_position = locate(position, self._starts, self.path)
        part = self._parts[number]
        return part, Entry.unpack(part.index, part_position)

    @cached_property
    def _hashes(self) -> tuple[memoryview, memoryview]:
        """Hashes of all names in ascending order and the positions they belong to: 16 bytes per image."""
        hashes = self._column("name_hash")
        positions = np.argsort(hashes, kind="stable")
        return hashes[positions].data, positions.data

    def _column(self, field: str) -> np.ndarray:
        columns = [part.entries[field] for part in self._parts]
        return np.concatenate(columns) if columns else np.zeros(0, ENTRY_DTYPE[field])


class _MappedPart:
    """The files of one part, each mapped when first used."""

    def __init__(self, files: PartFiles, extent: Extent, manifest: StoreManifest) -> None:
        self._files = files
        self._extent = extent
        self._manifest = manifest

    @cached_property
    def data(self) -> memoryview:
        return map_file(self._files.path("data"), self._extent.data_end)

    @cached_property
    def names(self) -> memoryview:
        return map_file(self._files.path("names"), self._extent.names_end)

    @cached_property
    def index(self) -> memoryview:
        index = map_file(self._files.path("index"), self._extent.images * ENTRY_BYTES)
        check_entry_offsets(index, self._extent, self._files, self._manifest)
        return index

    @property
    def entries(self) -> np.ndarray:
        return np.frombuffer(self.index, ENTRY_DTYPE)

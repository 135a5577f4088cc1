"""Where batches of regions come from: a table in memory, or a feature store too large for one.

Shapes: B batch, N objects of one image, O the largest number of objects of an image in the batch, D features,
K objects.
"""

from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import torch
from torch import Tensor

from lxmert.data.image_names import NameIndex, image_stem, may_be_same_image
from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_table import RegionTable, table_bytes
from lxmert.data.stored_regions import StoredRegions
from lxmert.errors import DataError

IN_MEMORY_BYTES = 2 * 2**30
"""Regions up to this size are kept in memory as float32; larger ones are read from the disk as needed."""


class ObjectLabelSource(Protocol):
    """Classes and attributes of the objects of a source's images."""

    @property
    def object_count(self) -> int:
        """Number of object classes."""
        ...

    @property
    def attribute_count(self) -> int:
        """Number of attributes."""
        ...

    def batch(
        self, rows: Tensor, objects: int, *, confidences: bool = False
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Class ids and weights of "obj" and "attr", (B, O) each; see `ObjectLabels.batch`."""
        ...


class RegionSource(Protocol):
    """The regions of images by row, in batches."""

    @property
    def extractor(self) -> str:
        """Identity of what made the features."""
        ...

    @property
    def feature_dim(self) -> int:
        """Number of features per object, D."""
        ...

    @property
    def rows(self) -> Mapping[Hashable, int]:
        """Row of each image."""
        ...

    @property
    def object_labels(self) -> ObjectLabelSource | None:
        """The objects' labels from the extractor; None if it predicts none."""
        ...

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The visual model inputs of these rows (B,) int64, truncated to the batch's largest object count.

        Returns:
            visual_feats (B, O, D) float32 or the requested dtype, visual_pos (B, O, 4) float32 in 0..1,
            visual_attention_mask (B, O) int64; owned by the caller, who may modify them. O is at least 1.
        """
        ...

    def gather_objects(self, rows: Tensor, fractions: Tensor) -> Tensor:
        """The features (K, D) of one object of each of these images, object number floor(fractions · N).

        Args:
            rows: (K,) int64.
            fractions: (K,) in [0, 1). The features of an image without objects are zeros.
        """
        ...

    def boxes_xyxy_unit(self, row: int) -> Tensor:
        """The boxes (N, 4) float32 in 0..1 of the N objects of one image; no feature is read."""
        ...


def open_regions(
    store: RegionStore,
    names: Iterable[str],
    *,
    in_memory_bytes: int = IN_MEMORY_BYTES,
    feature_dtype: torch.dtype = torch.float32,
    progress: StartProgress = no_progress,
) -> RegionSource:
    """Open the stored regions of the named images, in memory if they fit.

    Args:
        store: the store.
        names: names of the images, with or without extension and folders; see `ImageNameIndex`.
        in_memory_bytes: the memory limit.
        feature_dtype: of the batches' features. float16, from a store of that dtype, halves memory and time,
            also for the transfer to a GPU; models convert features to their own precision.
        progress: shows the reading into memory.

    Raises:
        DataError: no names; images that the store lacks, or that match several of its images; two names in
            different folders that match one image of the store.
    """
    unique = list(dict.fromkeys(names))
    if not unique:
        raise DataError(f"{store.path}: no image was requested")
    name_index = ImageNameIndex(store)
    positions = name_index.find_all(unique)
    if len(positions) < len(unique):
        first = next(name for name in unique if name not in positions)
        raise DataError(
            f"{store.path}: {len(unique) - len(positions):,} of {len(unique):,} images are missing, "
            f"starting with {name_index.describe_missing(first)}; add them with `lxmert extract`"
        )
    stored = StoredRegions(store, positions, feature_dtype)
    if table_bytes(len(unique), stored.max_objects, store.feature_dim, feature_dtype) > in_memory_bytes:
        return stored
    advance = progress("Reading features", len(unique))
    return RegionTable.from_store(stored, advance)


class ImageNameIndex:
    """Finds images by their exact name in a store, else by a name that differs only in its extension or in
    missing folders: "a", "a.png" and "photos/train/a" are "train/a.jpg", but "val/a.jpg" is not.

    Stores that `lxmert extract` makes hold file names, original feature files names without ending.

    Args:
        store: the store.
    """

    def __init__(self, store: RegionStore) -> None:
        self._store = store

    @property
    def path(self) -> str | Path:
        """Path of the store, for messages."""
        return self._store.path

    def find(self, name: str) -> int | None:
        """The position of an image, or None.

        Raises:
            DataError: the name matches several images.
        """
        position = self._store.find(name)
        if position is not None:
            return position
        matches = self._index.find(name)
        if len(matches) > 1:
            # "day/a.png" is "a.png" rather than "a.jpg".
            file = PurePosixPath(name).name
            exact = [
                position for position in matches if PurePosixPath(self._store.name_at(position)).name == file
            ]
            matches = exact or matches
        if len(matches) > 1:
            first, second = (self._store.name_at(position) for position in matches[:2])
            raise DataError(
                f"{self._store.path}: several images are called {image_stem(name)!r} apart from folder "
                f"and extension, such as {first!r} and {second!r}; write {name!r} as it is in the store"
            )
        return matches[0] if matches else None

    def find_all(self, names: Iterable[str]) -> dict[Hashable, int]:
        """The positions of the images that the store has.

        Raises:
            DataError: a name matches several images, or two names in different folders match one image.
        """
        positions: dict[Hashable, int] = {}
        longest_names: dict[int, str] = {}
        for name in names:
            position = self.find(name)
            if position is None:
                continue
            known = longest_names.get(position, name)
            if not may_be_same_image(known, name):
                raise DataError(
                    f"{self._store.path}: has one image for both {known!r} and {name!r}; add the other "
                    "with `lxmert extract`, or use one name if they are the same picture"
                )
            longest_names[position] = max(known, name, key=len)
            positions[name] = position
        return positions

    def describe_missing(self, name: str) -> str:
        """Describe a missing image: its name, and that of an image in another folder, if any."""
        others = self._index.find(PurePosixPath(name).name)
        return (
            f"{name} ({self._store.name_at(others[0])} in the store is from another folder)"
            if others
            else name
        )

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(self._store)  # Joined stores may hold an image twice; the first counts.

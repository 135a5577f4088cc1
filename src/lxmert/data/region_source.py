"""Where batches of regions come from: a table in memory, or a feature store too large for one.

Shapes: B batch, O the most objects of any image in the batch, D features, K objects.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import torch
from torch import Tensor

from lxmert.data.image_names import may_be_one_image, plain_name
from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_table import RegionTable, table_bytes
from lxmert.data.stored_regions import StoredRegions
from lxmert.errors import DataError

IN_MEMORY_BYTES = 2 * 2**30
"""Regions up to this size are kept in memory as float32; larger ones are read from the disk as needed."""


class ObjectLabelSource(Protocol):
    """What the objects of a source's images are."""

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
        """Image to row."""
        ...

    @property
    def object_labels(self) -> ObjectLabelSource | None:
        """What the extractor says the objects are; None where it does not."""
        ...

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The visual model inputs of these rows (B,) int64, cut to the batch's own most objects.

        Returns:
            visual_feats (B, O, D) float32 or as asked for, visual_pos (B, O, 4) float32 in 0..1,
            visual_attention_mask (B, O) int64; the caller's own, to change as it likes. O is at least 1.
        """
        ...

    def pick_objects(self, rows: Tensor, where: Tensor) -> Tensor:
        """The features (K, D) of one object of each of these images, object number floor(where · N).

        Args:
            rows: (K,) int64.
            where: (K,) in 0..1, 1 excluded. An image without objects gives zeros.
        """
        ...


def open_regions(
    store: RegionStore,
    names: Iterable[str],
    *,
    in_memory_bytes: int = IN_MEMORY_BYTES,
    feature_dtype: torch.dtype = torch.float32,
    progress: StartProgress = no_progress,
) -> RegionSource:
    """The regions of images that a store holds, in memory where they fit.

    Args:
        store: the store.
        names: names of the images, with or without ending and folders; see `StoredNames`.
        in_memory_bytes: the most that may be kept in memory.
        feature_dtype: of the batches' features. float16 of a store of that type takes half the memory and
            time, also on the way to a GPU; models bring features to their own precision.
        progress: shows the reading into memory.

    Raises:
        DataError: no names; images that the store lacks, or has twice under such a name; two names of
            different folders for one image of the store.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        raise DataError(f"{store.path}: no image is asked for")
    stored_names = StoredNames(store)
    positions = stored_names.find_all(wanted)
    if len(positions) < len(wanted):
        first = next(name for name in wanted if name not in positions)
        raise DataError(
            f"{store.path}: {len(wanted) - len(positions):,} of {len(wanted):,} images are not in it, the "
            f"first is {stored_names.missing(first)}; `lxmert extract` adds them"
        )
    stored = StoredRegions(store, positions, feature_dtype)
    if table_bytes(len(wanted), stored.most_objects, store.feature_dim, feature_dtype) > in_memory_bytes:
        return stored
    advance = progress("Reading features", len(wanted))
    return RegionTable.from_store(stored, advance)


class StoredNames:
    """Finds images by the very name that a store gives them, else by a name that differs in its ending or
    lacks folders: "a", "a.png" and "photos/train/a" are "train/a.jpg", but "val/a.jpg" is not.

    Stores that `lxmert extract` makes hold file names, original feature files names without ending.

    Args:
        store: the store.
    """

    def __init__(self, store: RegionStore) -> None:
        self._store = store

    @property
    def path(self) -> str | Path:
        """Where the store lies, for messages."""
        return self._store.path

    def find(self, name: str) -> int | None:
        """The position of an image, or None.

        Raises:
            DataError: it may be one of several images.
        """
        position = self._store.find(name)
        if position is not None:
            return position
        found = [one for one in self._alike(name) if may_be_one_image(self._store.name_at(one), name)]
        if len(found) > 1:
            # "day/a.png" is "a.png" rather than "a.jpg".
            file = PurePosixPath(name).name
            found = [one for one in found if PurePosixPath(self._store.name_at(one)).name == file] or found
        if len(found) > 1:
            one, other = (self._store.name_at(place) for place in found[:2])
            raise DataError(
                f"{self._store.path}: several images are called {plain_name(name)!r} there but for folder "
                f"and ending, such as {one!r} and {other!r}; give {name!r} as it stands there"
            )
        return found[0] if found else None

    def find_all(self, names: Iterable[str]) -> dict[Hashable, int]:
        """The positions of those that there are.

        Raises:
            DataError: one may be one of several images, or two of them lead to one image, though their
                folders differ.
        """
        positions: dict[Hashable, int] = {}
        fullest: dict[int, str] = {}
        for name in names:
            position = self.find(name)
            if position is None:
                continue
            known = fullest.get(position, name)
            if not may_be_one_image(known, name):
                raise DataError(
                    f"{self._store.path}: has one image for both {known!r} and {name!r}; add the other with "
                    "`lxmert extract`, or write both names alike if they are the same picture"
                )
            fullest[position] = max(known, name, key=len)
            positions[name] = position
        return positions

    def missing(self, name: str) -> str:
        """An image that is not there, for messages: its name, and that of another folder's image if any."""
        other = next((self._store.name_at(one) for one in self._alike(name)), None)
        return name if other is None else f"{name} ({other} there is of another folder)"

    def _alike(self, name: str) -> Sequence[int]:
        """Positions of images whose names differ from this one in nothing but folder and ending."""
        return self._plain.get(plain_name(name), ())

    @cached_property
    def _plain(self) -> dict[str, list[int]]:
        plain: dict[str, list[int]] = {}
        seen: set[str] = set()
        for position, name in enumerate(self._store):
            if name not in seen:  # Joined stores may hold an image twice; the first counts.
                seen.add(name)
                plain.setdefault(plain_name(name), []).append(position)
        return plain

"""Several feature stores read as one: the images of COCO's training and validation parts and Visual Genome's.

Shapes: N objects of one image, D features per object.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from torch import Tensor

from lxmert.data.feature_store import FeatureStore, StoredArrays, StoreManifest
from lxmert.data.feature_store.positions import group_by_part, locate
from lxmert.errors import DataError


class JoinedStores:
    """The part of `FeatureStore`'s interface that batches need, over several stores of one extractor.

    Positions run through the stores in turn. An image that several stores hold is read from the first.

    Args:
        stores: one or more.

    Raises:
        DataError: there is none, or two were made by different extractors or have different class names.
    """

    def __init__(self, stores: Sequence[FeatureStore]) -> None:
        if not stores:
            raise DataError("no feature store was given; expected at least one")
        first = stores[0]
        for store in stores[1:]:
            expected, other = (_identity(each.manifest) for each in (first, store))
            if expected != other:
                raise DataError(
                    f"{store.path} has features of {other[0]!r} ({other[1]} numbers), but {first.path} of "
                    f"{expected[0]!r} ({expected[1]}); expected one extractor with one list of class names"
                )
        self._stores = tuple(stores)
        self._starts = [0, *accumulate(map(len, stores))]

    @property
    def path(self) -> str:
        """The stores' folders, for messages."""
        return " + ".join(str(store.path) for store in self._stores)

    @property
    def manifest(self) -> StoreManifest:
        """The manifest of the first store; the others may differ in what `_identity` leaves out."""
        return self._stores[0].manifest

    @property
    def extractor(self) -> str:
        """Identity of what made the features."""
        return self._stores[0].extractor

    @property
    def feature_dim(self) -> int:
        """Number of features per object D."""
        return self._stores[0].feature_dim

    def __len__(self) -> int:
        """Number of images."""
        return self._starts[-1]

    def __iter__(self) -> Iterator[str]:
        """The names, by position."""
        for store in self._stores:
            yield from store

    def find(self, name: str) -> int | None:
        """The position of the image of this name, or None."""
        for start, store in zip(self._starts, self._stores, strict=False):
            if (position := store.find(name)) is not None:
                return start + position
        return None

    def name_at(self, position: int) -> str:
        """See `FeatureStore.name_at`."""
        store, place = self._locate(position)
        return store.name_at(place)

    def arrays_at(self, position: int) -> StoredArrays:
        """See `FeatureStore.arrays_at`."""
        store, place = self._locate(position)
        return store.arrays_at(place)

    def read_batch(self, positions: np.ndarray, features: Tensor, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """See `FeatureStore.read_batch`."""
        sizes_hw = np.empty((len(positions), 2), np.int64)
        for number, rows, store_positions in group_by_part(positions, self._starts, self.path):
            sizes_hw[rows] = self._stores[number].read_batch(store_positions, features, boxes_xyxy_px, rows)
        return sizes_hw

    def content_hash(self) -> str:
        """See `FeatureStore.content_hash`; the hashes of all stores in order."""
        return "+".join(store.content_hash() for store in self._stores)

    def object_counts(self) -> np.ndarray:
        """See `FeatureStore.object_counts`."""
        return np.concatenate([store.object_counts() for store in self._stores])

    def flags(self) -> np.ndarray:
        """See `FeatureStore.flags`."""
        return np.concatenate([store.flags() for store in self._stores])

    def checksums(self) -> np.ndarray:
        """See `FeatureStore.checksums`."""
        return np.concatenate([store.checksums() for store in self._stores])

    def _locate(self, position: int) -> tuple[FeatureStore, int]:
        number, place = locate(position, self._starts, self.path)
        return self._stores[number], place


RegionStore = FeatureStore | JoinedStores
"""One feature store, or several read as one."""


def open_stores(paths: Sequence[str | Path]) -> RegionStore:
    """Open one store, or several as one.

    Raises:
        DataError: No path, one given twice, no store there, or stores that do not belong together.
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        all_paths = " + ".join(map(str, paths))
        raise DataError(f"{all_paths}: one of them was given twice; expected different feature stores")
    stores = [FeatureStore(path) for path in paths]
    return stores[0] if len(stores) == 1 else JoinedStores(stores)


def _identity(manifest: StoreManifest) -> tuple[object, ...]:
    return manifest.extractor, manifest.feature_dim, manifest.object_names, manifest.attribute_names

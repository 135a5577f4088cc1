"""The regions of many images, read from a feature store when a batch needs them.

No features are kept: the store's files are mapped into memory, and all reading processes share the pages
that the system caches. May be passed to any number of loader processes.

Shapes: B batch, O the largest number of objects of an image in the batch, D features, K objects.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lxmert.data.feature_store.layout import HAS_OBJECT_IDS
from lxmert.data.joined_stores import RegionStore
from lxmert.data.object_labels import ObjectLabels, labels_with_weights
from lxmert.data.task_examples import IGNORED_LABEL


class StoredRegions:
    """Regions that stay on the disk; rows are positions in the store.

    Args:
        store: the store.
        rows: position of each image in the store.
        feature_dtype: of the batches' features.
    """

    def __init__(
        self,
        store: RegionStore,
        rows: Mapping[Hashable, int],
        feature_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.rows = rows
        self.feature_dtype = feature_dtype
        self._store = store
        self._counts = store.object_counts().astype(np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def extractor(self) -> str:
        """Identity of what made the features."""
        return self._store.extractor

    @property
    def feature_dim(self) -> int:
        """Number of features per object, D."""
        return self._store.feature_dim

    @property
    def max_objects(self) -> int:
        """The largest number of objects of an image."""
        return int(max((self._counts[row] for row in self.rows.values()), default=0))

    @cached_property
    def object_labels(self) -> "StoredObjectLabels | None":
        """The stored labels of the objects; None unless every image has them."""
        flags = self._store.flags()[list(self.rows.values())]
        if not np.all(flags & HAS_OBJECT_IDS):
            return None
        return StoredObjectLabels(self._store, tuple(self.rows.values()))

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """See `RegionSource.batch`."""
        positions = rows.numpy()
        counts = self._counts[positions]  # (B,)
        objects = max(int(counts.max()), 1)
        # Not initialised: if all images have the same number of objects, every number is overwritten.
        features = torch.empty(len(positions), objects, self.feature_dim, dtype=self.feature_dtype)
        for row in np.flatnonzero(counts < objects).tolist():
            features[row, counts[row] :] = 0.0
        boxes: np.ndarray = np.zeros((len(positions), objects, 4), np.float32)
        sizes_hw = self._store.read_batch(positions, features, boxes)
        # Boxes that leave their image by a rounding error are stored unclamped.
        boxes /= sizes_hw.astype(np.float32)[:, None, [1, 0, 1, 0]]  # (B, 1, 4)
        visual_pos = torch.from_numpy(boxes).clamp_(0.0, 1.0)
        mask = torch.from_numpy(counts)[:, None] > torch.arange(objects)  # (B, O)
        return {"visual_feats": features, "visual_pos": visual_pos, "visual_attention_mask": mask.long()}

    def gather_objects(self, rows: Tensor, fractions: Tensor) -> Tensor:
        """See `RegionSource.gather_objects`."""
        picked = torch.zeros(len(rows), self.feature_dim, dtype=self.feature_dtype)
        for index, (position, fraction) in enumerate(zip(rows.tolist(), fractions.tolist(), strict=True)):
            if count := int(self._counts[position]):
                features = self._store.arrays_at(position).features[int(fraction * count)]
                picked[index] = torch.from_numpy(features.copy())
        return picked

    def boxes_xyxy_unit(self, row: int) -> Tensor:
        """See `RegionSource.boxes_xyxy_unit`."""
        image = self._store.arrays_at(row)
        height, width = image.size_hw
        boxes = image.boxes_xyxy_px / np.array([width, height, width, height], np.float32)
        return torch.from_numpy(boxes).clamp_(0.0, 1.0)


class StoredObjectLabels:
    """Classes and attributes of the objects of a store's images, read when a batch needs them.

    Args:
        store: the store.
        positions: positions of the images in it.
    """

    def __init__(self, store: RegionStore, positions: Sequence[int]) -> None:
        self._store = store
        self._positions = np.array(positions)

    @property
    def object_count(self) -> int:
        """Number of object classes: as many as the manifest has names, else one above the highest id."""
        names = self._store.manifest.object_names
        return len(names) if names else self._max_ids[0] + 1

    @property
    def attribute_count(self) -> int:
        """Number of attributes, determined likewise; at least 1."""
        names = self._store.manifest.attribute_names
        return len(names) if names else self._max_ids[1] + 1

    def batch(
        self, rows: Tensor, objects: int, *, confidences: bool = False
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """See `ObjectLabels.batch`."""
        labels = self._read(rows, objects)
        return {
            "obj": labels_with_weights(
                labels["object_ids"], labels["object_scores"] if confidences else None
            ),
            "attr": labels_with_weights(
                labels["attribute_ids"], labels["attribute_scores"] if confidences else None
            ),
        }

    def table(self, rows: Tensor, objects: int) -> ObjectLabels:
        """Read the labels of these rows (I,) into memory, padded to O objects."""
        labels = self._read(rows, objects)
        return ObjectLabels(
            objects=labels["object_ids"],
            attributes=labels["attribute_ids"],
            object_count=self.object_count,
            attribute_count=self.attribute_count,
            object_confidences=labels["object_scores"],
            attribute_confidences=labels["attribute_scores"],
        )

    def _read(self, rows: Tensor, objects: int) -> dict[str, Tensor]:
        """Read all labels and confidences (B, O); -100 and 1 where there are none."""
        shape = (len(rows), objects)
        labels = {name: torch.full(shape, IGNORED_LABEL) for name in ("object_ids", "attribute_ids")}
        labels |= {name: torch.ones(shape) for name in ("object_scores", "attribute_scores")}
        arrays_by_name = {name: values.numpy() for name, values in labels.items()}
        for index, position in enumerate(rows.tolist()):
            image = self._store.arrays_at(position)
            for name, values in arrays_by_name.items():
                if (stored := getattr(image, name)) is not None:
                    values[index, : len(stored)] = stored
        return labels

    @cached_property
    def _max_ids(self) -> tuple[int, int]:
        """The highest object and attribute id; reads the labels of every image once."""
        highest = [0, 0]
        for position in self._positions.tolist():
            arrays = self._store.arrays_at(position)
            for place, ids in enumerate((arrays.object_ids, arrays.attribute_ids)):
                if ids is not None and len(ids):
                    highest[place] = max(highest[place], int(ids.max()))
        return highest[0], highest[1]

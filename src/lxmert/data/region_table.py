"""The regions of all images of a small data set in memory, ready to batch.

Shapes: I images, B of them in a batch, O the largest number of objects of an image (in the batch, of its
images), D features, K objects.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lxmert.data.object_labels import ObjectLabels
from lxmert.data.progress import Advance
from lxmert.data.stored_regions import StoredRegions
from lxmert.errors import DataError
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

# Larger tables belong on the disk, in a feature store.
_MAX_BYTES = 8 * 2**30

_BOX_BYTES = 16

# Images read between two updates of the progress bar.
_IMAGES_PER_UPDATE = 64


@dataclass(frozen=True)
class RegionTable:
    """Regions of all images, padded once by `pad_regions` to the image with the most objects.

    Attributes:
        inputs: The result of `pad_regions` for all images: visual_feats (I, O, D), visual_pos (I, O, 4),
            visual_attention_mask (I, O).
        rows: Row of each image.
        extractor: Identity of what made the features.
        object_labels: The extractor's labels of the objects, row by row; None if it predicts none.
    """

    inputs: Mapping[str, Tensor]
    rows: Mapping[Hashable, int]
    extractor: str
    object_labels: ObjectLabels | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def feature_dim(self) -> int:
        """Number of features per object, D."""
        return int(self.inputs["visual_feats"].shape[2])

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The visual model inputs of these rows (B,) int64, truncated to the batch's largest object count."""
        mask = self.inputs["visual_attention_mask"][rows]
        # Real objects come first, so everything after the widest row's is padding.
        objects = max(int(mask.sum(dim=1).max()), 1)
        return {
            "visual_feats": self.inputs["visual_feats"][:, :objects][rows],
            "visual_pos": self.inputs["visual_pos"][:, :objects][rows],
            "visual_attention_mask": mask[:, :objects].contiguous(),
        }

    def gather_objects(self, rows: Tensor, fractions: Tensor) -> Tensor:
        """See `RegionSource.gather_objects`."""
        counts = self.inputs["visual_attention_mask"][rows].sum(dim=1)
        # Object 0 of an image without objects is padding, and so zeros.
        return self.inputs["visual_feats"][rows, (fractions.double() * counts).long()]

    def boxes_xyxy_unit(self, row: int) -> Tensor:
        """See `RegionSource.boxes_xyxy_unit`."""
        return self.inputs["visual_pos"][row][self.inputs["visual_attention_mask"][row].bool()]

    @classmethod
    def from_regions(cls, regions: Mapping[Hashable, Regions]) -> "RegionTable":
        """Pad the regions of images and keep them in memory.

        Raises:
            DataError: There is no image, or the table would take more than 8 GB.
        """
        if not regions:
            raise DataError("there is no image to extract regions from")
        first = next(iter(regions.values()))
        check_table_size(len(regions), max(map(len, regions.values())), first.feature_dim)
        rows = {image: row for row, image in enumerate(regions)}
        images = list(regions.values())
        return cls(pad_regions(images), rows, first.extractor, ObjectLabels.from_regions(images))

    @classmethod
    def from_store(cls, stored: StoredRegions, advance: Advance) -> "RegionTable":
        """Read everything into memory.

        Args:
            stored: The regions to read.
            advance: Called with the number of images just read.
        """
        positions = torch.tensor(list(stored.rows.values()))
        shape = (len(positions), max(stored.max_objects, 1))
        inputs = {
            "visual_feats": torch.zeros(*shape, stored.feature_dim, dtype=stored.feature_dtype),
            "visual_pos": torch.zeros(*shape, 4),
            "visual_attention_mask": torch.zeros(shape, dtype=torch.int64),
        }
        for start in range(0, len(positions), _IMAGES_PER_UPDATE):
            batch_rows = positions[start : start + _IMAGES_PER_UPDATE]
            for name, values in stored.batch(batch_rows).items():
                inputs[name][start : start + len(batch_rows), : values.shape[1]] = values
            advance(len(batch_rows))
        rows = {image: row for row, image in enumerate(stored.rows)}
        labels = stored.object_labels
        labels_table = None if labels is None else labels.table(positions, shape[1])
        return cls(inputs, rows, stored.extractor, labels_table)


def check_table_size(images: int, objects: int, feature_dim: int) -> None:
    """Refuse a table of so many images with up to so many objects.

    Raises:
        DataError: It would take more than 8 GB.
    """
    size = table_bytes(images, objects, feature_dim)
    if size > _MAX_BYTES:
        raise DataError(
            f"the regions of {images:,} images would take {size / 2**30:.0f} GB of memory (the limit is "
            f"{_MAX_BYTES / 2**30:.0f}); extract them into a feature store with `lxmert extract`"
        )


def table_bytes(
    images: int, objects: int, feature_dim: int, feature_dtype: torch.dtype = torch.float32
) -> int:
    """Memory in bytes of a table of `images` images with up to `objects` objects each."""
    return images * max(objects, 1) * (feature_dim * feature_dtype.itemsize + _BOX_BYTES)

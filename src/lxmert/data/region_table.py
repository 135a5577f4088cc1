"""The regions of all images of a small data set, extracted once and kept in memory, ready to batch.

Shapes: I images, B of them in a batch, O the most objects of any image (trimmed to the batch's own most),
D features.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.feature_store import FeatureStore
from lxmert.data.files import VqaFiles
from lxmert.data.object_labels import ObjectLabels
from lxmert.errors import DataError, RegionsError
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.images import load_image
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

# Images decoded ahead of the extractor: bounds memory while both cores have work.
_IMAGES_AT_A_TIME = 32

# Beyond this the whole table in memory is the wrong tool.
_MOST_BYTES = 8 * 2**30

# Called with each chunk's image count as it is done.
Advance = Callable[[int], None]


@dataclass(frozen=True)
class RegionTable:
    """Regions of all images, padded once by `pad_regions` to the image with the most objects.

    Attributes:
        inputs: What `pad_regions` returned for all images: visual_feats (I, O, D), visual_pos (I, O, 4),
            visual_attention_mask (I, O).
        rows: Image id to row.
        extractor: Identity of what made the features.
        object_labels: What the extractor says the objects are, row by row; None where it does not.
    """

    inputs: Mapping[str, Tensor]
    rows: Mapping[int, int]
    extractor: str
    object_labels: ObjectLabels | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def feature_dim(self) -> int:
        """Number of features per object, D."""
        return int(self.inputs["visual_feats"].shape[2])

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """The visual model inputs of these rows (B,) int64, cut to the batch's own most objects."""
        mask = self.inputs["visual_attention_mask"][rows]
        # Real objects come first, so the widest row says where the rest is padding.
        objects = max(int(mask.sum(dim=1).max()), 1)
        return {
            "visual_feats": self.inputs["visual_feats"][:, :objects][rows],
            "visual_pos": self.inputs["visual_pos"][:, :objects][rows],
            "visual_attention_mask": mask[:, :objects].contiguous(),
        }

    @classmethod
    def from_regions(cls, regions: Mapping[int, Regions]) -> "RegionTable":
        """Pad and keep the regions of images given by id.

        Raises:
            DataError: There is no image, or the table would take more than 8 GB.
        """
        if not regions:
            raise DataError("there is no image to extract regions from")
        first = next(iter(regions.values()))
        most = max(len(one) for one in regions.values())
        size = len(regions) * most * (first.feature_dim + 4) * 4
        if size > _MOST_BYTES:
            raise DataError(
                f"the regions of {len(regions):,} images would take {size / 2**30:.0f} GB of memory "
                f"(the limit is {_MOST_BYTES / 2**30:.0f}); use fewer images or a smaller extractor"
            )
        rows = {image_id: row for row, image_id in enumerate(regions)}
        images = list(regions.values())
        return cls(pad_regions(images), rows, first.extractor, ObjectLabels.from_regions(images))


def extract_split(
    directory: Path,
    files: VqaFiles,
    split: str,
    image_ids: Iterable[int],
    extractor: RegionExtractor,
    advance: Advance = lambda images: None,
    store: FeatureStore | None = None,
) -> RegionTable:
    """The regions of a split's images, extracted now or before; boxes come from the instances file if needed.

    Args:
        directory: The data directory.
        files: Its layout.
        split: The split's name.
        image_ids: The images wanted.
        extractor: What makes the regions.
        advance: Called with the number of images just done, for a progress bar.
        store: Where the regions were stored before by this extractor, under the images' file names.

    Raises:
        DataError: An image is not in the instances file, or boxes are needed and there is no such file; or
            the store lacks images or is of another extractor.
        ImageError: An image cannot be read.
        RegionsError: The boxes of an image are unusable; the message names its file.
    """
    instances_path = files.instances_path(directory, split)
    if instances_path is None and extractor.needs_boxes:
        raise DataError(
            f"{extractor.identity} needs boxes, but the layout of {directory} has no instances file"
        )
    instances = None if instances_path is None else read_instances(instances_path)
    wanted = list(image_ids)
    coco = _chosen(wanted, instances, instances_path)
    paths = [
        files.image_path(directory, split, image_id, None if image is None else image.file_name)
        for image_id, image in zip(wanted, coco, strict=True)
    ]
    if store is not None:
        return RegionTable.from_regions(_stored(store, paths, wanted, extractor, advance))
    regions: dict[int, Regions] = {}
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(wanted), _IMAGES_AT_A_TIME):
            part = slice(start, start + _IMAGES_AT_A_TIME)
            images = list(threads.map(load_image, paths[part]))
            boxes = None
            if extractor.needs_boxes:
                boxes = [image.boxes_xyxy_px for image in coco[part] if image is not None]
            try:
                found = extractor(images, boxes)
            except RegionsError:
                _name_culprit(paths[part], images, boxes, extractor)
                raise
            regions.update(zip(wanted[part], found, strict=True))
            advance(len(found))
    return RegionTable.from_regions(regions)


def _stored(
    store: FeatureStore,
    paths: Sequence[Path],
    image_ids: Sequence[int],
    extractor: RegionExtractor,
    advance: Advance,
) -> dict[int, Regions]:
    if store.extractor != extractor.identity:
        raise DataError(
            f"{store.path} was made by {store.extractor}, expected {extractor.identity}: extract the images "
            "again with the extractor of the recipe or model"
        )
    missing = [path.name for path in paths if path.name not in store]
    if missing:
        raise DataError(
            f"{store.path}: {len(missing):,} of {len(paths):,} images are not in it, the first is "
            f"{missing[0]}; `lxmert extract` adds them"
        )
    regions = {}
    for image_id, path in zip(image_ids, paths, strict=True):
        regions[image_id] = store[path.name]
        advance(1)
    return regions


def _name_culprit(
    paths: Sequence[Path], images: Sequence[Any], boxes: Sequence[Tensor] | None, extractor: RegionExtractor
) -> None:
    """Find the first image whose regions cannot be made, and raise its error with its path."""
    for number, (path, image) in enumerate(zip(paths, images, strict=True)):
        try:
            extractor([image], None if boxes is None else [boxes[number]])
        except RegionsError as error:
            raise RegionsError(f"{path}: {error}") from error


def _chosen(
    wanted: Sequence[int], instances: Mapping[int, CocoImage] | None, path: Path | None
) -> list[CocoImage | None]:
    if instances is None:
        return [None] * len(wanted)
    unknown = [image_id for image_id in wanted if image_id not in instances]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} of the {len(wanted)} images asked about are not in it, "
            f"the first is {unknown[0]}"
        )
    return [instances[image_id] for image_id in wanted]

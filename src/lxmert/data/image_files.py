"""Image files as regions: looked at now, or looked up in a feature store.

Shapes: N boxes of one image.
"""

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import Advance, StartProgress, no_progress
from lxmert.data.region_source import IN_MEMORY_BYTES, RegionSource, open_regions
from lxmert.data.region_table import RegionTable
from lxmert.errors import ConfigurationError, DataError, RegionsError
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.images import load_image
from lxmert.vision.regions import Regions

# Images decoded ahead of the extractor: bounds memory while both cores have work.
_IMAGES_AT_A_TIME = 32

# What an image may be called whose name is given without ending; cameras write them in upper case.
_ENDINGS = (".jpg", ".png", ".jpeg")
_SPELLINGS = (*_ENDINGS, *(ending.upper() for ending in _ENDINGS))


@dataclass(frozen=True)
class ImageFile:
    """Where an image lies.

    Attributes:
        path: The file.
        boxes_xyxy_px: (N, 4) float32, boxes to look at, in pixels; None where the extractor finds its own.
    """

    path: Path
    boxes_xyxy_px: Tensor | None = None


def with_ending(path: Path) -> Path:
    """The file of this name with one of the usual endings; the name itself where it has one, or none fits."""
    if path.suffix.lower() in _ENDINGS:
        return path
    candidates = (path.with_name(path.name + ending) for ending in _SPELLINGS)
    return next((candidate for candidate in candidates if candidate.is_file()), path)


def look_up(
    store: RegionStore,
    names: Sequence[str],
    extractor: RegionExtractor | None,
    progress: StartProgress = no_progress,
    *,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> RegionSource:
    """The regions of images that a store holds, or several as one.

    Args:
        store: The store.
        names: Names of the images, with or without ending.
        extractor: What the model expects to have made them; None takes what the store holds.
        progress: Shows the reading into memory.
        in_memory_bytes: The most that may be kept in memory; what is larger is read as needed.

    Raises:
        DataError: The store is of another extractor, or lacks images.
    """
    check_maker(store, extractor)
    return open_regions(store, names, in_memory_bytes=in_memory_bytes, progress=progress)


def check_maker(store: RegionStore, extractor: RegionExtractor | None) -> None:
    """Refuse a store of another extractor than a model expects; None takes what the store holds.

    Raises:
        DataError: It is of another one.
    """
    if extractor is not None and store.extractor != extractor.identity:
        raise DataError(
            f"{store.path} was made by {store.extractor}, expected {extractor.identity}: extract the images "
            "again with the extractor of the recipe or model (an original file that is known to be its work "
            "is imported under that name, `lxmert features import --extractor-name`)"
        )


def require_extractor(extractor: RegionExtractor | None) -> RegionExtractor:
    """What looks at images.

    Raises:
        ConfigurationError: There is no extractor.
    """
    if extractor is None:
        raise ConfigurationError(
            "there is no extractor, so images cannot become regions; give a feature store"
        )
    return extractor


def look_at(
    files: Mapping[str, ImageFile],
    extractor: RegionExtractor | None,
    advance: Advance = lambda images: None,
) -> RegionTable:
    """The regions of images, extracted now.

    Args:
        files: The images by name.
        extractor: What makes the regions.
        advance: Called with the number of images just done, for a progress bar.

    Raises:
        ConfigurationError: There is no extractor.
        ImageError: An image cannot be read.
        RegionsError: The boxes of an image are unusable; the message names its file.
    """
    extractor = require_extractor(extractor)
    names, wanted = list(files), list(files.values())
    regions: dict[Hashable, Regions] = {}
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(wanted), _IMAGES_AT_A_TIME):
            part = wanted[start : start + _IMAGES_AT_A_TIME]
            images = list(threads.map(lambda file: load_image(file.path), part))
            try:
                found = extractor(images, _boxes(part, extractor))
            except RegionsError:
                _name_culprit(part, images, extractor)
                raise
            regions.update(zip(names[start : start + len(part)], found, strict=True))
            advance(len(found))
    return RegionTable.from_regions(regions)


def _boxes(files: Sequence[ImageFile], extractor: RegionExtractor) -> list[Tensor] | None:
    if not extractor.needs_boxes:
        return None
    return [file.boxes_xyxy_px for file in files if file.boxes_xyxy_px is not None]


def _name_culprit(files: Sequence[ImageFile], images: Sequence[Any], extractor: RegionExtractor) -> None:
    """Find the first image whose regions cannot be made, and raise its error with its path."""
    for file, image in zip(files, images, strict=True):
        try:
            extractor([image], _boxes([file], extractor))
        except RegionsError as error:
            raise RegionsError(f"{file.path}: {error}") from error

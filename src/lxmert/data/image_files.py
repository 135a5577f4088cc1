"""The regions of image files: extracted now, or looked up in a feature store.

Shapes: N boxes of one image.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lxmert.data.joined_stores import RegionStore
from lxmert.data.progress import Advance, StartProgress, no_progress
from lxmert.data.region_source import IN_MEMORY_BYTES, RegionSource, open_regions
from lxmert.data.region_table import RegionTable, check_table_size
from lxmert.errors import ConfigurationError, DataError, RegionsError
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.images import load_image
from lxmert.vision.regions import Regions

# Images decoded ahead of the extractor: bounds memory while both cores have work.
_BATCH_SIZE = 32

# Extensions of an image whose name is given without one; cameras write them in upper case.
_EXTENSIONS = (".jpg", ".png", ".jpeg")
_EXTENSION_SPELLINGS = (*_EXTENSIONS, *(extension.upper() for extension in _EXTENSIONS))


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Attributes:
        path: The file.
        boxes_xyxy_px: (N, 4) float32, boxes to describe, in pixels; None if the extractor finds its own.
    """

    path: Path
    boxes_xyxy_px: Tensor | None = None


def resolve_extension(path: Path) -> Path:
    """The existing file of this name with a usual extension; the path itself if it has one or none exists."""
    if path.suffix.lower() in _EXTENSIONS:
        return path
    candidates = (path.with_name(path.name + extension) for extension in _EXTENSION_SPELLINGS)
    return next((candidate for candidate in candidates if candidate.is_file()), path)


def check_files_exist(paths: Collection[Path], what: str) -> None:
    """Check that image files exist, without reading them.

    Args:
        paths: The files.
        what: What they are, for the message.

    Raises:
        DataError: Some are missing.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]}: no such image file; {len(missing):,} of the {len(paths):,} {what} are missing"
        )


def open_region_store(
    store: RegionStore,
    names: Sequence[str],
    extractor: RegionExtractor | None,
    progress: StartProgress = no_progress,
    *,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> RegionSource:
    """Look up the regions of images in a store, or in several read as one.

    Args:
        store: The store.
        names: Names of the images, with or without extension.
        extractor: The extractor that the model expects; None accepts any.
        progress: Shows the reading into memory.
        in_memory_bytes: Limit of the regions kept in memory; larger ones are read as needed.

    Raises:
        DataError: The store is of another extractor, or lacks images.
    """
    check_store_extractor(store, extractor)
    return open_regions(store, names, in_memory_bytes=in_memory_bytes, progress=progress)


def check_store_extractor(store: RegionStore, extractor: RegionExtractor | None) -> None:
    """Refuse a store of another extractor than the model expects; None accepts any.

    Raises:
        DataError: The store is of another extractor.
    """
    if extractor is not None and store.extractor != extractor.identity:
        raise DataError(
            f"{store.path} was made by {store.extractor}, expected {extractor.identity}: extract the "
            "images again with the extractor of the recipe or model (if an original file is known to be "
            "made by that extractor, import it under its name with `lxmert features import "
            "--extractor-name`)"
        )


def require_extractor(extractor: RegionExtractor | None) -> RegionExtractor:
    """Return the extractor.

    Raises:
        ConfigurationError: There is no extractor.
    """
    if extractor is None:
        raise ConfigurationError(
            "there is no extractor, so images cannot be turned into regions; use a feature store"
        )
    return extractor


def extract_region_table(
    files: Mapping[str, ImageFile],
    extractor: RegionExtractor | None,
    advance: Advance = lambda images: None,
) -> RegionTable:
    """Extract the regions of images.

    Args:
        files: The images by name.
        extractor: The extractor.
        advance: Called with the number of images just done, for a progress bar.

    Raises:
        ConfigurationError: There is no extractor.
        DataError: There is no image, or the table would take more than 8 GB.
        ImageError: An image cannot be read.
        RegionsError: The boxes of an image are unusable; the message names its file.
    """
    extractor = require_extractor(extractor)
    names, image_files = list(files), list(files.values())
    regions: dict[Hashable, Regions] = {}
    most_objects = 0
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(image_files), _BATCH_SIZE):
            batch = image_files[start : start + _BATCH_SIZE]
            images = list(threads.map(lambda file: load_image(file.path), batch))
            try:
                extracted = extractor(images, _boxes(batch, extractor))
            except RegionsError:
                _raise_for_faulty_image(batch, images, extractor)
                raise
            regions.update(zip(names[start : start + len(batch)], extracted, strict=True))
            # As soon as it is certain, not after hours: every row has room for the most objects of an image.
            most_objects = max(most_objects, *map(len, extracted))
            check_table_size(len(files), most_objects, extracted[0].feature_dim)
            advance(len(extracted))
    return RegionTable.from_regions(regions)


def _boxes(files: Sequence[ImageFile], extractor: RegionExtractor) -> list[Tensor] | None:
    if not extractor.needs_boxes:
        return None
    return [file.boxes_xyxy_px for file in files if file.boxes_xyxy_px is not None]


def _raise_for_faulty_image(
    files: Sequence[ImageFile], images: Sequence[Any], extractor: RegionExtractor
) -> None:
    """Find the first image whose regions cannot be extracted, and raise its error with its path."""
    for file, image in zip(files, images, strict=True):
        try:
            extractor([image], _boxes([file], extractor))
        except RegionsError as error:
            raise RegionsError(f"{file.path}: {error}") from error

"""Sources of the objects of images in bulk runs, by name: a feature store, or the images themselves.

Nothing is cached here: objects are read or extracted when their window is processed.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from lxmert.data.image_files import ImageFile, extract_region_table, require_extractor
from lxmert.data.region_source import RegionSource
from lxmert.inference.bulk_packing import WindowLimits
from lxmert.vision.extractor import RegionExtractor

EXTRACTION_WINDOW = WindowLimits(images=64)
"""For extraction from images, which takes longer than answering: few images, so that progress shows."""


class StoredObjects:
    """Objects of images in a feature store.

    Args:
        regions: the store's regions by the images' names.
    """

    def __init__(self, regions: RegionSource) -> None:
        self._regions = regions

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """See `ObjectSource.load`."""
        return self._regions.batch(torch.tensor([self._regions.rows[image] for image in images]))


class ExtractedObjects:
    """Objects of image files, found by an extractor.

    Args:
        files: the images by name.
        extractor: finds the objects.

    Raises:
        ConfigurationError: there is no extractor.
    """

    def __init__(self, files: Mapping[str, ImageFile], extractor: RegionExtractor | None) -> None:
        self._files = files
        self._extractor = require_extractor(extractor)

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """See `ObjectSource.load`."""
        return extract_region_table(
            {str(image): self._files[str(image)] for image in images}, self._extractor
        ).inputs

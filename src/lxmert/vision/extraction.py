"""From images, with or without boxes, or existing regions to one checked `Regions` for each image.

Shapes: N boxes of one image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lxmert.errors import ConfigurationError, InputError, RegionsError
from lxmert.vision.build import build_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.geometry import BoxesLike, as_boxes_list
from lxmert.vision.images import ImageSource, as_image_list, load_images
from lxmert.vision.regions import Regions

Images = ImageSource | Sequence[ImageSource]
Boxes = BoxesLike | Sequence[BoxesLike]


def as_extractor(extractor: RegionExtractor | Mapping[str, Any] | None) -> RegionExtractor | None:
    """Return an extractor, made from its description if need be; None stays None.

    Raises:
        ConfigurationError: neither an extractor nor a valid description.
    """
    built = build_extractor(extractor) if isinstance(extractor, Mapping) else extractor
    if built is not None and not isinstance(built, RegionExtractor):
        raise ConfigurationError(
            f"extractor is a {type(built).__name__}; expected a region extractor such as GivenBoxes"
        )
    return built


def move_extractor(extractor: RegionExtractor | None, device: torch.device | str) -> None:
    """Move the network of an extractor, or that of its encoder, to `device`; do nothing without one."""
    for part in (extractor, getattr(extractor, "encoder", None)):
        to = getattr(part, "to", None)
        if to is not None:
            to(device)


def extract_regions(
    extractor: RegionExtractor | None, images: Images, boxes: Boxes | None = None
) -> list[Regions]:
    """Extract the objects of each image.

    Args:
        extractor: finds the objects, or describes those in the boxes.
        images: one image or several.
        boxes: for each image (N, 4) x1, y1, x2, y2 in its pixels; optional if the extractor finds objects by
            itself.

    Raises:
        InputError: no extractor.
        ImageError: an image that cannot be read.
        RegionsError: missing boxes that the extractor needs, or a box that is not inside its image.
    """
    if extractor is None:
        raise InputError(
            "this processor has no extractor, so it cannot process images; pass extractor=… to "
            "LxmertProcessor (--detector NAME on the command line), or call it with regions=…"
        )
    sources = as_image_list(images)
    if boxes is None and extractor.needs_boxes:
        raise RegionsError(
            f"the extractor {extractor.identity} does not find objects by itself; pass boxes=, x1, y1, "
            "x2, y2 in pixels for each image (--boxes FILE on the command line)"
        )
    boxes_xyxy_px = None if boxes is None else as_boxes_list(boxes, len(sources))
    return extractor(load_images(sources), boxes_xyxy_px)


def as_regions_list(regions: Regions | Sequence[Regions]) -> list[Regions]:
    """Return one `Regions` or several as a list.

    Raises:
        RegionsError: none, or something else among them.
    """
    listed = [regions] if isinstance(regions, Regions) else list(regions)
    if not listed or not all(isinstance(item, Regions) for item in listed):
        raise RegionsError("regions must be a `Regions` or a list of them, one for each image")
    return listed

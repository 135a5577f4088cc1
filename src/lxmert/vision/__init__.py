"""From pixels to `Regions`: box geometry, images, extractors, padding and drawing.

The names are imported when first used: reading stored features imports neither the detectors nor
`transformers`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxmert.vision.backbone_encoder import BackboneEncoder
    from lxmert.vision.backbone_grid import BackboneGrid
    from lxmert.vision.build import build_encoder, build_extractor
    from lxmert.vision.detr import TransformersDetector
    from lxmert.vision.encoders import PooledPixels
    from lxmert.vision.extractor import BoxEncoder, RegionExtractor
    from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnConfig, FasterRcnnExtractor
    from lxmert.vision.given_boxes import GivenBoxes
    from lxmert.vision.grid import RegularGrid
    from lxmert.vision.images import ImageSource, load_image
    from lxmert.vision.padding import pad_regions
    from lxmert.vision.regions import Regions

__all__ = [
    "BackboneEncoder",
    "BackboneGrid",
    "BoxEncoder",
    "FasterRcnn",
    "FasterRcnnConfig",
    "FasterRcnnExtractor",
    "GivenBoxes",
    "ImageSource",
    "PooledPixels",
    "RegionExtractor",
    "Regions",
    "RegularGrid",
    "TransformersDetector",
    "build_encoder",
    "build_extractor",
    "load_image",
    "pad_regions",
]

_HOMES = {
    "BackboneEncoder": "backbone_encoder",
    "BackboneGrid": "backbone_grid",
    "BoxEncoder": "extractor",
    "FasterRcnn": "faster_rcnn",
    "FasterRcnnConfig": "faster_rcnn",
    "FasterRcnnExtractor": "faster_rcnn",
    "GivenBoxes": "given_boxes",
    "ImageSource": "images",
    "PooledPixels": "encoders",
    "RegionExtractor": "extractor",
    "Regions": "regions",
    "RegularGrid": "grid",
    "TransformersDetector": "detr",
    "build_encoder": "build",
    "build_extractor": "build",
    "load_image": "images",
    "pad_regions": "padding",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lxmert.vision' has no attribute {name!r}")
    value = getattr(import_module(f"lxmert.vision.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

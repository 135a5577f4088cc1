"""From pixels to `Regions`: box geometry, images, extractors, padding and drawing."""

from importlib import import_module
from typing import TYPE_CHECKING

from lxmert.vision.backbone_grid import BackboneGrid
from lxmert.vision.build import build_encoder, build_extractor
from lxmert.vision.detr import TransformersDetector
from lxmert.vision.encoders import BackboneEncoder, PooledPixels
from lxmert.vision.extractor import BoxEncoder, RegionExtractor
from lxmert.vision.given_boxes import GivenBoxes
from lxmert.vision.grid import RegularGrid
from lxmert.vision.images import ImageSource, load_image
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

if TYPE_CHECKING:
    from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnConfig, FasterRcnnExtractor

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

_WHEN_USED = ("FasterRcnn", "FasterRcnnConfig", "FasterRcnnExtractor")
"""The detector imports the modelling part of transformers; who only reads features need not wait for it."""


def __getattr__(name: str) -> object:
    if name not in _WHEN_USED:
        raise AttributeError(f"module 'lxmert.vision' has no attribute {name!r}")
    value = getattr(import_module("lxmert.vision.faster_rcnn"), name)
    globals()[name] = value
    return value

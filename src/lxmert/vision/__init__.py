"""From pixels to `Regions`: box geometry, images, extractors, padding and drawing."""

from lxmert.vision.build import build_encoder, build_extractor
from lxmert.vision.encoders import BackboneEncoder, PooledPixels
from lxmert.vision.extractor import BoxEncoder, RegionExtractor
from lxmert.vision.given_boxes import GivenBoxes
from lxmert.vision.grid import RegularGrid
from lxmert.vision.images import ImageSource, load_image
from lxmert.vision.padding import pad_regions
from lxmert.vision.regions import Regions

__all__ = [
    "BackboneEncoder",
    "BoxEncoder",
    "GivenBoxes",
    "ImageSource",
    "PooledPixels",
    "RegionExtractor",
    "Regions",
    "RegularGrid",
    "build_encoder",
    "build_extractor",
    "load_image",
    "pad_regions",
]

"""Drawings of images: boxes with name tags or a legend, brightness by weight, and text below."""

from lxmert.vision.drawing.regions import draw_regions
from lxmert.vision.drawing.style import palette_colour
from lxmert.vision.drawing.weighted import draw_weighted

__all__ = ["draw_regions", "draw_weighted", "palette_colour"]

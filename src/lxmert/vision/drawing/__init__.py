"""Pictures for people: boxes with name tags, a legend where there are many, light by weight, words below."""

from lxmert.vision.drawing.regions import draw_regions
from lxmert.vision.drawing.style import colour_of
from lxmert.vision.drawing.weighted import draw_weighted

__all__ = ["colour_of", "draw_regions", "draw_weighted"]

"""Pictures for people: boxes with name tags, a legend where there are many, and words below."""

from lxmert.vision.drawing.regions import draw_regions
from lxmert.vision.drawing.style import colour_of

__all__ = ["colour_of", "draw_regions"]

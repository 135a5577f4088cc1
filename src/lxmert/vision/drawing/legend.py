"""A legend of numbered names beside or below an image that has too many boxes for name tags."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from lxmert.vision.drawing.fonts import load_font
from lxmert.vision.drawing.style import INK, PAPER, SOFT_INK, Colour, Scale, paint_tag
from lxmert.vision.drawing.text import truncate_text

_LEADING = 1.75
"""Line height, in font sizes."""
_LONGEST_NAME = 18
"""Maximum width of a name, in font sizes; longer names are truncated."""
_GOOD_ASPECT = 1.6
"""Width over height of a typical screen, which the result should approach."""


@dataclass(frozen=True)
class Entry:
    """One line of the legend."""

    number: str
    name: str
    score: str
    colour: Colour


@dataclass(frozen=True)
class _Column:
    """Widths in pixels of the parts of a line, and the line's height."""

    badge: float
    name: float
    score: float
    gap: float
    line: float

    @classmethod
    def for_entries(cls, entries: Sequence[Entry], scale: Scale) -> "_Column":
        font = load_font(scale.font)
        names = max(load_font(scale.font, entry.name).getlength(entry.name) for entry in entries)
        return cls(
            badge=max(font.getlength(entry.number) for entry in entries) + 2 * scale.padding,
            name=min(names, _LONGEST_NAME * scale.font) + 1,
            score=max(font.getlength(entry.score) for entry in entries),
            gap=0.6 * scale.font,
            line=_LEADING * scale.font,
        )

    @property
    def width(self) -> float:
        # Two gaps within the line, and a wider one before the next column.
        return self.badge + self.name + self.score + 4 * self.gap


def add_legend(image: Image.Image, entries: Sequence[Entry], scale: Scale) -> Image.Image:
    """Return an image extended by a legend to the right or below, whichever gives the better aspect ratio.

    Args:
        image: RGB image.
        entries: at least one.
        scale: font size and padding.
    """
    column = _Column.for_entries(entries, scale)
    places = (
        _beside(image.size, len(entries), column, scale),
        _below(image.size, len(entries), column, scale),
    )
    size, start, rows = min(places, key=lambda place: abs(math.log(place[0][0] / place[0][1] / _GOOD_ASPECT)))
    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(image)
    for index, entry in enumerate(entries):
        x, y = start[0] + index // rows * column.width, start[1] + index % rows * column.line
        _write(sheet, entry, (x, y), column, scale)
    return sheet


_Place = tuple[tuple[int, int], tuple[float, float], int]
"""Size (width, height) of the extended image, start (x, y) of its first entry, and entries per column."""


def _beside(size: tuple[int, int], entries: int, column: _Column, scale: Scale) -> _Place:
    margin = scale.font
    most_rows = max(1, int((size[1] - 1.5 * margin) // column.line))
    columns = math.ceil(entries / most_rows)
    sheet = (
        size[0] + round(columns * column.width + margin),
        max(size[1], round(column.line + 1.5 * margin)),
    )
    return sheet, (size[0] + margin, 0.75 * margin), math.ceil(entries / columns)


def _below(size: tuple[int, int], entries: int, column: _Column, scale: Scale) -> _Place:
    margin = scale.font
    columns = max(1, int((size[0] - margin) // column.width))
    rows = math.ceil(entries / columns)
    sheet = (max(size[0], round(column.width + margin)), size[1] + round(rows * column.line + 1.5 * margin))
    return sheet, (margin, size[1] + 0.75 * margin), rows


def _write(
    sheet: Image.Image, entry: Entry, start: tuple[float, float], column: _Column, scale: Scale
) -> None:
    (x, y), font, draw = start, load_font(scale.font), ImageDraw.Draw(sheet)
    badge = (x, y + 0.1 * column.line, x + column.badge, y + 0.9 * column.line)
    paint_tag(sheet, entry.number, badge, entry.colour, scale, is_centred=True)
    middle, after = y + column.line / 2, badge[2] + column.gap
    name_font = load_font(scale.font, entry.name)
    name = truncate_text(entry.name, name_font, column.name)
    draw.text((after, middle), name, fill=INK, font=name_font, anchor="lm")
    end = after + column.name + column.gap + column.score
    draw.text((end, middle), entry.score, fill=SOFT_INK, font=font, anchor="rm")

"""`draw_weighted`: an image whose boxes are lit according to their weights, with weighted words below.

Shapes: N boxes.
"""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.vision.drawing.fonts import load_font
from lxmert.vision.drawing.regions import check_one_per_box, draw_regions, enlarge
from lxmert.vision.drawing.style import PALETTE, PAPER, Colour, Scale, text_colour_on
from lxmert.vision.drawing.text import add_text_bar
from lxmert.vision.geometry import validate_boxes
from lxmert.vision.images import ImageSource, load_image

SUPPORTING_COLOUR: Colour = PALETTE[1]
"""Background of words that support the answer."""
OPPOSING_COLOUR: Colour = PALETTE[0]
"""Background of words that count against it."""

_MIN_BRIGHTNESS = 0.25
"""Brightness of areas without weight, as a fraction of the image's own."""
_MAX_FRAMES = 5
"""Maximum number of boxes that are framed and named; more would add nothing."""
_MIN_FRAMED_WEIGHT = 0.1
"""Weight below which a box is not framed."""
_MIN_SIDE_PX = 560
_MIN_BOX_SIDE_PX = 0.01
"""Narrower boxes could lose their width by rounding."""


def draw_weighted(
    image: ImageSource,
    boxes_xyxy_px: Tensor,
    weights: Sequence[float],
    labels: Sequence[str] | None = None,
    words: Sequence[tuple[str, float]] = (),
    caption: str | None = None,
) -> Image.Image:
    """Darken an image outside boxes of high weight, frame those of the highest, and write words below.

    Args:
        image: any image that `load_image` accepts.
        boxes_xyxy_px: (N, 4) x1, y1, x2, y2 in pixels of the image.
        weights: a number in -1..1 for each box, shown as a percentage: 1 is full brightness; 0 or less is as
            dark as the area outside boxes.
        labels: a name for each box.
        words: pairs of a word and its weight in -1..1; backgrounds are vermilion above 0 and blue below,
            more saturated for larger weights.
        caption: text below the words.

    Returns:
        A new RGB image; small images are enlarged.

    Raises:
        RegionsError: boxes outside the image, not one weight and label for each, or a weight beyond -1..1.
        ImageError: the image cannot be read.
    """
    picture = load_image(image)
    boxes = validate_boxes(boxes_xyxy_px, (picture.height, picture.width))
    check_one_per_box(len(boxes), weights=weights, labels=labels)
    for weight in (*weights, *(weight for _, weight in words)):
        if not -1 <= weight <= 1:
            raise RegionsError(f"a weight is {weight:g}; expected -1..1, such as fractions of the largest")
    enlarged, _ = enlarge(picture, _MIN_SIDE_PX)
    boxes, picture = _scale_boxes(boxes, picture.size, enlarged.size), enlarged
    light = [max(0.0, weight) for weight in weights]
    lit = _dim_by_weight(picture, boxes.tolist(), light)
    order = sorted(range(len(light)), key=lambda row: -light[row])[:_MAX_FRAMES]
    framed = [row for row in order if light[row] >= _MIN_FRAMED_WEIGHT]
    names = [labels[row] if labels is not None else "" for row in framed]
    drawn = draw_regions(lit, boxes[framed], names, [light[row] for row in framed])
    return add_text_bar(_add_words(drawn, words), None, caption, Scale.for_image_size(drawn.size).font)


def _scale_boxes(boxes: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Return valid boxes (N, 4) of an image of (width, height) on its enlargement, valid there too."""
    # By each side: a side is enlarged to whole pixels, and a box in its last part could lie beyond it.
    old, new = boxes.new_tensor(size), boxes.new_tensor(new_size)
    starts = (boxes[:, :2] * (new / old)).minimum(new - _MIN_BOX_SIDE_PX)
    ends = (boxes[:, 2:] * (new / old)).maximum(starts + _MIN_BOX_SIDE_PX)
    return torch.cat([starts, ends], dim=1)


def _dim_by_weight(image: Image.Image, boxes: list[list[float]], light: list[float]) -> Image.Image:
    """Darken an image so that each pixel has the brightness of the highest-weighted box that contains it."""
    brightness = Image.new("L", image.size, round(255 * _MIN_BRIGHTNESS))
    for row in sorted(range(len(boxes)), key=lambda row: light[row]):
        x1, y1, x2, y2 = (round(corner) for corner in boxes[row])
        brightness.paste(
            round(255 * (_MIN_BRIGHTNESS + (1 - _MIN_BRIGHTNESS) * light[row])), (x1, y1, x2, y2)
        )
    return Image.composite(image, Image.new("RGB", image.size), brightness)


def _add_words(image: Image.Image, words: Sequence[tuple[str, float]]) -> Image.Image:
    """Return an image extended by words on backgrounds coloured by weight; the image itself without words."""
    if not words:
        return image
    scale = Scale.for_image_size(image.size)
    size = round(scale.font * 1.25)
    margin, gap, line = round(scale.font * 1.1), 0.3 * size, 1.7 * size
    fonts = [load_font(size, word) for word, _ in words]
    widths = [font.getlength(word) + 2 * gap for font, (word, _) in zip(fonts, words, strict=True)]
    sheet_width = max(image.width, round(max(widths)) + 2 * margin)
    places, x, y = [], float(margin), 0.0
    for width in widths:
        if x > margin and x + width > sheet_width - margin:
            x, y = float(margin), y + line
        places.append((x, y, width))
        x += width + gap
    top = image.height + 0.85 * margin
    sheet = Image.new("RGB", (sheet_width, round(top + y + line)), PAPER)
    sheet.paste(image)
    draw = ImageDraw.Draw(sheet)
    for (word, weight), font, (x, y, width) in zip(words, fonts, places, strict=True):
        ground = _word_background(weight)
        place = (x, top + y, x + width, top + y + 1.4 * size)
        draw.rounded_rectangle(place, radius=scale.radius, fill=ground)
        draw.text((x + gap, top + y + 0.7 * size), word, fill=text_colour_on(ground), font=font, anchor="lm")
    return sheet


def _word_background(weight: float) -> Colour:
    """Return the background of a word: from paper at 0 to full colour at 1 and -1."""
    colour, part = (SUPPORTING_COLOUR, weight) if weight > 0 else (OPPOSING_COLOUR, -weight)
    red, green, blue = (round(paper + (ink - paper) * part) for paper, ink in zip(PAPER, colour, strict=True))
    return red, green, blue

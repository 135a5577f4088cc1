"""`draw_weighted`: an image whose boxes are lit according to their weights, with weighted words below.

Shapes: N boxes.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.vision.drawing.regions import check_one_for_each, draw_regions, enlarged
from lxmert.vision.drawing.style import PALETTE, PAPER, Colour, Scale, font_of, ink_on
from lxmert.vision.drawing.words import with_bar
from lxmert.vision.geometry import validate_boxes
from lxmert.vision.images import ImageSource, load_image

FOR: Colour = PALETTE[1]
"""Background of words that support the answer."""
AGAINST: Colour = PALETTE[0]
"""Background of words that count against it."""

_DARKEST = 0.25
"""Brightness of areas without weight, as a fraction of the image's own."""
_MOST_FRAMES = 5
"""Maximum number of boxes that are framed and named; more would add nothing."""
_LEAST_SHARE = 0.1
"""Weight below which a box is not framed."""
_LEAST_SIDE_PX = 560


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
    check_one_for_each(len(boxes), weights=weights, labels=labels)
    for weight in (*weights, *(weight for _, weight in words)):
        if not -1 <= weight <= 1:
            raise RegionsError(f"a weight is {weight:g}; expected -1..1, such as fractions of the largest")
    picture, factor = enlarged(picture, _LEAST_SIDE_PX)
    light = [max(0.0, weight) for weight in weights]
    lit = _lit(picture, (boxes * factor).tolist(), light)
    order = sorted(range(len(light)), key=lambda row: -light[row])[:_MOST_FRAMES]
    framed = [row for row in order if light[row] >= _LEAST_SHARE]
    names = [labels[row] if labels is not None else "" for row in framed]
    drawn = draw_regions(lit, boxes[framed] * factor, names, [light[row] for row in framed])
    return with_bar(_with_words(drawn, words), None, caption, Scale.of(drawn.size).font)


def _lit(picture: Image.Image, boxes: list[list[float]], light: list[float]) -> Image.Image:
    """Darken an image so that each pixel has the brightness of the highest-weighted box that contains it."""
    brightness = Image.new("L", picture.size, round(255 * _DARKEST))
    for row in sorted(range(len(boxes)), key=lambda row: light[row]):
        x1, y1, x2, y2 = (round(corner) for corner in boxes[row])
        brightness.paste(round(255 * (_DARKEST + (1 - _DARKEST) * light[row])), (x1, y1, x2, y2))
    return Image.composite(picture, Image.new("RGB", picture.size), brightness)


def _with_words(picture: Image.Image, words: Sequence[tuple[str, float]]) -> Image.Image:
    """Return an image extended by words on backgrounds coloured by weight; the image itself without words."""
    if not words:
        return picture
    scale = Scale.of(picture.size)
    size = round(scale.font * 1.25)
    font, margin, gap, line = font_of(size), round(scale.font * 1.1), 0.3 * size, 1.7 * size
    widths = [font.getlength(word) + 2 * gap for word, _ in words]
    sheet_width = max(picture.width, round(max(widths)) + 2 * margin)
    places, x, y = [], float(margin), 0.0
    for width in widths:
        if x > margin and x + width > sheet_width - margin:
            x, y = float(margin), y + line
        places.append((x, y, width))
        x += width + gap
    top = picture.height + 0.85 * margin
    sheet = Image.new("RGB", (sheet_width, round(top + y + line)), PAPER)
    sheet.paste(picture)
    draw = ImageDraw.Draw(sheet)
    for (word, weight), (x, y, width) in zip(words, places, strict=True):
        ground = _ground(weight)
        place = (x, top + y, x + width, top + y + 1.4 * size)
        draw.rounded_rectangle(place, radius=scale.radius, fill=ground)
        draw.text((x + gap, top + y + 0.7 * size), word, fill=ink_on(ground), font=font, anchor="lm")
    return sheet


def _ground(weight: float) -> Colour:
    """Return the background of a word: from paper at 0 to full colour at 1 and -1."""
    colour, part = (FOR, weight) if weight > 0 else (AGAINST, -weight)
    red, green, blue = (round(paper + (ink - paper) * part) for paper, ink in zip(PAPER, colour, strict=True))
    return red, green, blue

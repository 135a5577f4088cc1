"""Pictures for people: boxes with name tags, and a question with its answer below.

Colours are those of Okabe and Ito, which people of any colour vision tell apart; lines carry a white edge,
so that they show on any ground; small pictures are enlarged, so that the tags can be read.

Shapes: N boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.vision.geometry import validate_boxes
from lxmert.vision.images import load_image

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

_PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (0, 158, 115),  # green
    (204, 121, 167),  # purple
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky
    (240, 228, 66),  # yellow
)
_INK: Colour = (28, 30, 34)
_SOFT_INK: Colour = (92, 97, 105)
_PAPER: Colour = (250, 250, 248)
_WHITE: Colour = (255, 255, 255)
_DARK_LETTERS_FROM = 0.25
"""Luminance of a tag from which dark letters stand out better than white ones."""
_SUPERSAMPLED_PIXELS = 24_000_000
"""Lines are drawn threefold and shrunk, for smooth corners, while that takes no more pixels than these."""


@dataclass(frozen=True)
class _Scale:
    """Sizes in pixels that grow with the picture."""

    line: int
    edge: int
    font: int
    padding: int
    radius: int

    @classmethod
    def of(cls, size: tuple[int, int]) -> "_Scale":
        unit = (size[0] * size[1]) ** 0.5 / 100
        line = max(2, round(unit * 0.6))
        font = max(14, round(unit * 2.9))
        return cls(
            line=line, edge=max(1, line // 3), font=font, padding=max(4, round(font * 0.38)), radius=line * 2
        )


def draw_regions(
    image: Image.Image,
    boxes_xyxy_px: Tensor,
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | Tensor | None = None,
    title: str | None = None,
    caption: str | None = None,
    least_side_px: int = 560,
) -> Image.Image:
    """Draw boxes, their names and their scores on a copy of a picture, and a bar of words below.

    Args:
        image: any image that `load_image` takes.
        boxes_xyxy_px: (N, 4) x1, y1, x2, y2 in pixels of the image.
        labels: a name for each box; None draws no tags.
        scores: a number in 0..1 for each box, shown as a percentage in its tag.
        title: words below the picture in large type, for example the question; wrapped to the width.
        caption: words below the title in a colour of their own, for example the answer.
        least_side_px: a picture whose longer side is shorter is enlarged to it.

    Returns:
        A new RGB image, the bar included.

    Raises:
        RegionsError: boxes outside the image, or not one label and score for each.
    """
    picture = load_image(image)
    boxes = validate_boxes(boxes_xyxy_px, (picture.height, picture.width)).tolist()
    tags = _tags(len(boxes), labels, scores)
    factor = max(1.0, least_side_px / max(picture.size))
    if factor > 1:
        size = (round(picture.width * factor), round(picture.height * factor))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    scale = _Scale.of(picture.size)
    # Small boxes last, so that a large one does not cover them.
    order = sorted(range(len(boxes)), key=lambda row: -_area(boxes[row]))
    frames = {row: _frame(boxes[row], factor, picture.size, scale) for row in order}
    colours = {row: _PALETTE[row % len(_PALETTE)] for row in order}
    picture = _draw_frames(picture, [(frames[row], colours[row]) for row in order], scale)
    taken: list[Rectangle] = []
    for row in sorted(order, key=lambda row: frames[row][1]):
        if tags[row]:
            taken.append(_draw_tag(picture, tags[row], frames[row], colours[row], scale, taken))
    return _with_bar(picture, title, caption, scale)


def _tags(boxes: int, labels: Sequence[str] | None, scores: Sequence[float] | Tensor | None) -> list[str]:
    for name, given in (("labels", labels), ("scores", scores)):
        if given is not None and len(given) != boxes:
            raise RegionsError(f"{len(given)} {name} for {boxes} boxes; expected one for each")
    names = list(labels) if labels is not None else [""] * boxes
    chances = [f"{float(score):.0%}" for score in scores] if scores is not None else [""] * boxes
    return [" ".join(part for part in pair if part) for pair in zip(names, chances, strict=True)]


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _frame(box: Sequence[float], factor: float, size: tuple[int, int], scale: _Scale) -> Rectangle:
    """The box on the enlarged picture, moved inwards where the line would be cut off by the border."""
    inset = scale.line / 2 + scale.edge
    x1, y1 = (max(inset, corner * factor) for corner in box[:2])
    x2, y2 = (min(side - inset, corner * factor) for corner, side in zip(box[2:], size, strict=True))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _draw_frames(
    picture: Image.Image, frames: Sequence[tuple[Rectangle, Colour]], scale: _Scale
) -> Image.Image:
    finer = 3 if picture.width * picture.height * 9 <= _SUPERSAMPLED_PIXELS else 1
    layer = Image.new("RGBA", (picture.width * finer, picture.height * finer))
    draw = ImageDraw.Draw(layer)
    half = scale.line / 2
    for (x1, y1, x2, y2), colour in frames:
        for grown, width, ink in (
            (half + scale.edge, scale.line + 2 * scale.edge, (*_WHITE, 200)),
            (half, scale.line, (*colour, 255)),
        ):
            corners = [(x1 - grown) * finer, (y1 - grown) * finer, (x2 + grown) * finer, (y2 + grown) * finer]
            draw.rounded_rectangle(
                corners, radius=(scale.radius + grown) * finer, outline=ink, width=width * finer
            )
    if finer > 1:
        layer = layer.resize(picture.size, Image.Resampling.BOX)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def _draw_tag(
    picture: Image.Image,
    words: str,
    frame: Rectangle,
    colour: Colour,
    scale: _Scale,
    taken: Sequence[Rectangle],
) -> Rectangle:
    font = ImageFont.load_default(scale.font)
    words = _shortened(words, font, picture.width - 4 * scale.padding)
    width = font.getlength(words) + 2 * scale.padding
    height = scale.font + 1.2 * scale.padding
    place = _best_place(frame, (width, height), picture.size, scale, taken)
    corner = (round(place[0]), round(place[1]))
    size = (round(width), round(height))
    layer = Image.new("RGBA", (size[0] * 3, size[1] * 3))
    ImageDraw.Draw(layer).rounded_rectangle(
        (0, 0, layer.width - 1, layer.height - 1),
        radius=scale.radius * 3,
        fill=colour,
        outline=_WHITE,
        width=scale.edge * 3,
    )
    layer = layer.resize(size, Image.Resampling.BOX)
    ink = _INK if _luminance(colour) > _DARK_LETTERS_FROM else _WHITE
    ImageDraw.Draw(layer).text((scale.padding, size[1] / 2), words, fill=ink, font=font, anchor="lm")
    picture.paste(layer, corner, layer)
    return place


def _best_place(
    frame: Rectangle,
    tag: tuple[float, float],
    size: tuple[int, int],
    scale: _Scale,
    taken: Sequence[Rectangle],
) -> Rectangle:
    """The first place around the frame that is free, or the one that covers the least of other tags."""
    x1, y1, x2, y2 = frame
    width, height = tag
    reach = scale.line / 2 + scale.edge
    left, right = x1 - reach, x2 + reach - width
    above, below = y1 - height + reach / 2, y2 - reach / 2
    inside_top, inside_bottom = y1 - reach, y2 + reach - height
    corners = [(left, above), (right, above), (left, below), (right, below)]
    corners += [(left, inside_top), (right, inside_top), (left, inside_bottom), (right, inside_bottom)]
    best: tuple[float, int, Rectangle] | None = None
    for rank, (x, y) in enumerate(corners):
        held_x = min(max(x, 0.0), max(0.0, size[0] - width - 1))
        held_y = min(max(y, 0.0), max(0.0, size[1] - height - 1))
        place = (held_x, held_y, held_x + width, held_y + height)
        moved = abs(held_x - x) * 0.1 + abs(held_y - y)
        cost = sum(_shared(place, other) for other in taken) + moved * width * 0.5
        if best is None or (cost, rank) < best[:2]:
            best = (cost, rank, place)
    return best[2] if best else frame


def _shared(first: Rectangle, second: Rectangle) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, across) * max(0.0, down)


def _luminance(colour: Colour) -> float:
    """Relative luminance in 0..1 (WCAG 2): what decides between dark and white letters."""
    linear = [
        (value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _with_bar(picture: Image.Image, title: str | None, caption: str | None, scale: _Scale) -> Image.Image:
    margin = round(scale.font * 1.1)
    lines: list[tuple[str, int, Colour]] = []
    for words, size, colour in (
        (title, round(scale.font * 1.25), _SOFT_INK if caption else _INK),
        (caption, round(scale.font * 1.6), _INK),
    ):
        if words:
            font = ImageFont.load_default(size)
            lines += [(line, size, colour) for line in _wrapped(words, font, picture.width - 2 * margin)]
    if not lines:
        return picture
    leading = 1.35
    height = round(sum(size * leading for _, size, _ in lines) + 1.7 * margin)
    sheet = Image.new("RGB", (picture.width, picture.height + height), _PAPER)
    sheet.paste(picture)
    draw = ImageDraw.Draw(sheet)
    y = picture.height + 0.85 * margin
    for line, size, colour in lines:
        middle = y + size * leading / 2
        draw.text((margin, middle), line, fill=colour, font=ImageFont.load_default(size), anchor="lm")
        y += size * leading
    return sheet


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _wrapped(words: str, font: _Font, width: float) -> list[str]:
    lines: list[str] = []
    for paragraph in words.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
            while font.getlength(line) > width and len(line) > 1:  # one word wider than the picture
                fits = next(
                    n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width
                )
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines


def _shortened(words: str, font: _Font, width: float) -> str:
    if font.getlength(words) <= width:
        return words
    while len(words) > 1 and font.getlength(words + "…") > width:
        words = words[:-1]
    return words.rstrip() + "…"

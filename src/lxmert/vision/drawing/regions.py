"""`draw_regions`: an image with its boxes, their names and scores, and text below.

A few boxes are tagged with their names; where name tags would overlap, boxes are numbered instead and the
names are listed in a legend. Small images are enlarged, so that the text is legible.

Shapes: N boxes.
"""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.vision.drawing.fonts import load_font
from lxmert.vision.drawing.frames import draw_frames, frame_for_box
from lxmert.vision.drawing.legend import Entry, add_legend
from lxmert.vision.drawing.style import Rectangle, Scale, paint_tag, palette_colour
from lxmert.vision.drawing.tag_placement import Size, area, hidden_share, overlap_share, place_tags
from lxmert.vision.drawing.text import add_text_bar, truncate_text
from lxmert.vision.geometry import validate_boxes
from lxmert.vision.images import load_image

_MAX_NAME_TAGS = 16
"""More name tags hide too much of the image, even if they do not overlap."""
_ALLOWED_OVERLAP = 0.02
"""Fraction of the tags' area that other tags may cover before numbers replace the names."""
_ALLOWED_HIDING = 0.3
"""Fraction of any box that name tags may cover before numbers replace the names."""
_MIN_SIDE_CROWDED_PX = 900
"""Least longer side of an image with a legend, whose many boxes need space."""


def draw_regions(
    image: Image.Image,
    boxes_xyxy_px: Tensor,
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | Tensor | None = None,
    title: str | None = None,
    caption: str | None = None,
    min_side_px: int = 560,
    legend: bool | None = None,
) -> Image.Image:
    """Draw boxes, their names and their scores on a copy of an image, and text in a bar below.

    Args:
        image: any image that `load_image` accepts.
        boxes_xyxy_px: (N, 4) x1, y1, x2, y2 in pixels of the image.
        labels: a name for each box; None draws no names.
        scores: a number in 0..1 for each box, shown as a percentage.
        title: text below the image in large type, for example the question; wrapped to the width.
        caption: text below the title, larger and darker, for example the answer.
        min_side_px: images whose longer side is shorter are enlarged to this size.
        legend: True numbers the boxes and lists their names, if any, beside or below the image; False writes
            the names on the boxes; None does so if there is enough space for them.

    Returns:
        A new RGB image, including legend and bar.

    Raises:
        RegionsError: boxes outside the image, or not one label and score for each.
    """
    picture = load_image(image)
    boxes = validate_boxes(boxes_xyxy_px, (picture.height, picture.width)).tolist()
    names, percentages = _format_labels(len(boxes), labels, scores)
    tags = [" ".join(filter(None, pair)) for pair in zip(names, percentages, strict=True)]
    drawn = None if legend else _draw_with_name_tags(picture, boxes, tags, min_side_px, force=legend is False)
    if drawn is None:
        drawn = _draw_with_numbers(picture, boxes, names, percentages, max(min_side_px, _MIN_SIDE_CROWDED_PX))
    return add_text_bar(drawn, title, caption, Scale.for_image_size(drawn.size).font)


def _format_labels(
    boxes: int, labels: Sequence[str] | None, scores: Sequence[float] | Tensor | None
) -> tuple[list[str], list[str]]:
    check_one_per_box(boxes, labels=labels, scores=scores)
    names = [str(label) for label in labels] if labels is not None else [""] * boxes
    percentages = [f"{float(score):.0%}" for score in scores] if scores is not None else [""] * boxes
    return names, percentages


def check_one_per_box(boxes: int, **given: Sequence[object] | Tensor | None) -> None:
    """Raise a RegionsError if any of the named sequences has not one value for each box; None is allowed."""
    for name, values in given.items():
        if values is not None and len(values) != boxes:
            raise RegionsError(f"{len(values)} {name} for {boxes} boxes; expected one for each")


def _draw_with_name_tags(
    image: Image.Image, boxes: list[list[float]], tags: list[str], min_side_px: int, *, force: bool
) -> Image.Image | None:
    """Draw a name at each box; return None if the names are too many or hide too much, unless `force`."""
    named = [row for row, tag in enumerate(tags) if tag]
    if len(named) > _MAX_NAME_TAGS and not force:
        return None
    image, factor = enlarge(image, min_side_px)
    scale = Scale.for_image_size(image.size)
    frames = [frame_for_box(box, factor, image.size, scale) for box in boxes]
    tags = [
        truncate_text(tag, load_font(scale.font, tag), image.width - 4 * scale.padding) if tag else ""
        for tag in tags
    ]
    places = place_tags(
        [_tag_size(tags[row], scale) for row in named], [frames[row] for row in named], image.size, scale
    )
    if not force and (
        overlap_share(places) > _ALLOWED_OVERLAP or hidden_share(places, frames) > _ALLOWED_HIDING
    ):
        return None
    return _paint(image, frames, dict(zip(named, places, strict=True)), tags, scale)


def _draw_with_numbers(
    image: Image.Image, boxes: list[list[float]], names: list[str], percentages: list[str], min_side_px: int
) -> Image.Image:
    """Draw a number at each box, and the names beside or below the image."""
    image, factor = enlarge(image, min_side_px)
    scale = Scale.for_image_size(image.size, is_crowded=True)
    frames = [frame_for_box(box, factor, image.size, scale) for box in boxes]
    numbers = [str(row + 1) for row in range(len(boxes))]
    sizes = [_tag_size(number, scale) for number in numbers]
    places = place_tags(sizes, frames, image.size, scale, prefer_inside=True)
    drawn = _paint(image, frames, dict(enumerate(places)), numbers, scale)
    entries = [
        Entry(number, name, percentage, palette_colour(row))
        for row, (number, name, percentage) in enumerate(zip(numbers, names, percentages, strict=True))
    ]
    return add_legend(drawn, entries, scale) if any(names + percentages) else drawn


def _paint(
    image: Image.Image,
    frames: list[Rectangle],
    places: dict[int, Rectangle],
    tags: list[str],
    scale: Scale,
) -> Image.Image:
    # Small boxes last, so that large ones do not cover them.
    order = sorted(range(len(frames)), key=lambda row: -area(frames[row]))
    drawn = draw_frames(image, [(frames[row], palette_colour(row)) for row in order], scale)
    for row in order:
        if row in places:
            paint_tag(drawn, tags[row], places[row], palette_colour(row), scale)
    return drawn


def _tag_size(tag: str, scale: Scale) -> Size:
    return load_font(scale.font, tag).getlength(tag) + 2 * scale.padding, scale.font + 1.2 * scale.padding


def enlarge(image: Image.Image, min_side_px: int) -> tuple[Image.Image, float]:
    """Enlarge an image to a longer side of at least `min_side_px`; also return the scale factor."""
    factor = max(1.0, min_side_px / max(image.size))
    if factor > 1:
        size = (round(image.width * factor), round(image.height * factor))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image, factor

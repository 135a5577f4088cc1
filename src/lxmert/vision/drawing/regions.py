"""`draw_regions`: an image with its boxes, their names and scores, and text below.

A few boxes are tagged with their names; where name tags would overlap, boxes are numbered instead and the
names are listed in a legend. Small images are enlarged, so that the text is legible.

Shapes: N boxes.
"""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.vision.drawing.frames import draw_frames, frame_of
from lxmert.vision.drawing.legend import Entry, with_legend
from lxmert.vision.drawing.places import Size, area, hidden_share, overlap_share, place_tags
from lxmert.vision.drawing.style import Rectangle, Scale, colour_of, font_of, paint_tag
from lxmert.vision.drawing.words import shortened, with_bar
from lxmert.vision.geometry import validate_boxes
from lxmert.vision.images import load_image

_MOST_NAME_TAGS = 16
"""More name tags hide too much of the image, even if they do not overlap."""
_ALLOWED_OVERLAP = 0.02
"""Fraction of the tags' area that other tags may cover before numbers replace the names."""
_ALLOWED_HIDING = 0.3
"""Fraction of any box that name tags may cover before numbers replace the names."""
_LEAST_SIDE_CROWDED_PX = 900
"""Least longer side of an image with a legend, whose many boxes need space."""


def draw_regions(
    image: Image.Image,
    boxes_xyxy_px: Tensor,
    labels: Sequence[str] | None = None,
    scores: Sequence[float] | Tensor | None = None,
    title: str | None = None,
    caption: str | None = None,
    least_side_px: int = 560,
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
        least_side_px: images whose longer side is shorter are enlarged to this size.
        legend: True numbers the boxes and lists their names, if any, beside or below the image; False writes
            the names on the boxes; None does so if there is enough space for them.

    Returns:
        A new RGB image, including legend and bar.

    Raises:
        RegionsError: boxes outside the image, or not one label and score for each.
    """
    picture = load_image(image)
    boxes = validate_boxes(boxes_xyxy_px, (picture.height, picture.width)).tolist()
    names, chances = _texts(len(boxes), labels, scores)
    tags = [" ".join(filter(None, pair)) for pair in zip(names, chances, strict=True)]
    drawn = None if legend else _with_name_tags(picture, boxes, tags, least_side_px, must=legend is False)
    if drawn is None:
        drawn = _with_numbers(picture, boxes, names, chances, max(least_side_px, _LEAST_SIDE_CROWDED_PX))
    return with_bar(drawn, title, caption, Scale.of(drawn.size).font)


def _texts(
    boxes: int, labels: Sequence[str] | None, scores: Sequence[float] | Tensor | None
) -> tuple[list[str], list[str]]:
    check_one_for_each(boxes, labels=labels, scores=scores)
    names = [str(label) for label in labels] if labels is not None else [""] * boxes
    chances = [f"{float(score):.0%}" for score in scores] if scores is not None else [""] * boxes
    return names, chances


def check_one_for_each(boxes: int, **given: Sequence[object] | Tensor | None) -> None:
    """Raise a RegionsError if any of the named sequences has not one value for each box; None is allowed."""
    for name, values in given.items():
        if values is not None and len(values) != boxes:
            raise RegionsError(f"{len(values)} {name} for {boxes} boxes; expected one for each")


def _with_name_tags(
    picture: Image.Image, boxes: list[list[float]], tags: list[str], least_side_px: int, *, must: bool
) -> Image.Image | None:
    """Draw a name at each box; return None if the names are too many or hide too much, unless `must`."""
    picture, factor = enlarged(picture, least_side_px)
    scale = Scale.of(picture.size)
    frames = [frame_of(box, factor, picture.size, scale) for box in boxes]
    tags = [
        shortened(tag, font_of(scale.font), picture.width - 4 * scale.padding) if tag else "" for tag in tags
    ]
    named = [row for row, tag in enumerate(tags) if tag]
    places = place_tags(
        [_tag_size(tags[row], scale) for row in named], [frames[row] for row in named], picture.size, scale
    )
    is_crowded = (
        len(named) > _MOST_NAME_TAGS
        or overlap_share(places) > _ALLOWED_OVERLAP
        or hidden_share(places, frames) > _ALLOWED_HIDING
    )
    if is_crowded and not must:
        return None
    return _painted(picture, frames, dict(zip(named, places, strict=True)), tags, scale)


def _with_numbers(
    picture: Image.Image, boxes: list[list[float]], names: list[str], chances: list[str], least_side_px: int
) -> Image.Image:
    """Draw a number at each box, and the names beside or below the image."""
    picture, factor = enlarged(picture, least_side_px)
    scale = Scale.of(picture.size, is_crowded=True)
    frames = [frame_of(box, factor, picture.size, scale) for box in boxes]
    numbers = [str(row + 1) for row in range(len(boxes))]
    sizes = [_tag_size(number, scale) for number in numbers]
    places = place_tags(sizes, frames, picture.size, scale, prefer_inside=True)
    drawn = _painted(picture, frames, dict(enumerate(places)), numbers, scale)
    entries = [
        Entry(number, name, chance, colour_of(row))
        for row, (number, name, chance) in enumerate(zip(numbers, names, chances, strict=True))
    ]
    return with_legend(drawn, entries, scale) if any(names + chances) else drawn


def _painted(
    picture: Image.Image,
    frames: list[Rectangle],
    places: dict[int, Rectangle],
    tags: list[str],
    scale: Scale,
) -> Image.Image:
    # Small boxes last, so that large ones do not cover them.
    order = sorted(range(len(frames)), key=lambda row: -area(frames[row]))
    drawn = draw_frames(picture, [(frames[row], colour_of(row)) for row in order], scale)
    for row in order:
        if row in places:
            paint_tag(drawn, tags[row], places[row], colour_of(row), scale)
    return drawn


def _tag_size(tag: str, scale: Scale) -> Size:
    return font_of(scale.font).getlength(tag) + 2 * scale.padding, scale.font + 1.2 * scale.padding


def enlarged(picture: Image.Image, least_side_px: int) -> tuple[Image.Image, float]:
    """Enlarge an image to a longer side of at least `least_side_px`; also return the scale factor."""
    factor = max(1.0, least_side_px / max(picture.size))
    if factor > 1:
        size = (round(picture.width * factor), round(picture.height * factor))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture, factor

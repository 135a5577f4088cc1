"""Placement of tags: at a corner or edge of their frames, away from other tags and small frames."""

from collections.abc import Sequence

from lxmert.vision.drawing.style import Rectangle, Scale

Size = tuple[float, float]

_ROOMY_IN_TAGS = 2.2
"""Width and height, in tag sizes, from which a frame still shows most of its content with a tag inside."""
_SMALL_IN_TAGS = 6.0
"""Area, in tag areas, below which a tag would hide too much of a frame."""
_MOST_SEPARATED = 200
"""More tags are not kept apart: it would take quadratic time, and there is no room for them anyway."""


def place_tags(
    tags: Sequence[Size],
    frames: Sequence[Rectangle],
    size: tuple[int, int],
    scale: Scale,
    *,
    prefer_inside: bool = False,
) -> list[Rectangle]:
    """Place the tag of each frame.

    Args:
        tags: width and height of each tag in pixels.
        frames: x1, y1, x2, y2 of each frame in pixels of the image.
        size: width and height of the image in pixels.
        scale: line widths.
        prefer_inside: True places a tag inside its frame if the frame is much larger than the tag.

    Returns:
        x1, y1, x2, y2 of each tag, in the given order. More than 200 may cover one another.
    """
    is_separated = len(frames) <= _MOST_SEPARATED
    by_area = [(area(frame), frame) for frame in frames] if is_separated else []
    places: dict[int, Rectangle] = {}
    # From top to bottom: a tag is usually above its frame, where the earlier tags already have their places.
    for row in sorted(range(len(frames)), key=lambda row: frames[row][1]):
        goes_inside = prefer_inside and _has_room(frames[row], tags[row])
        small_area = _SMALL_IN_TAGS * tags[row][0] * tags[row][1]
        small = [
            frame
            for other, (frame_area, frame) in enumerate(by_area)
            if frame_area < small_area and not (goes_inside and other == row)
        ]
        candidates = _candidates(frames[row], tags[row], scale)
        if goes_inside:
            candidates = candidates[4:] + candidates[:4]
        taken = list(places.values()) if is_separated else []
        places[row] = _best_place(candidates, tags[row], size, taken, small)
    return [places[row] for row in range(len(frames))]


def overlap_share(places: Sequence[Rectangle]) -> float:
    """Return the overlap of all pairs of tags as a fraction of the tags' total area; 0 without tags."""
    total = sum(area(place) for place in places)
    pairs = ((first, second) for row, first in enumerate(places) for second in places[:row])
    return sum(_intersection_area(first, second) for first, second in pairs) / total if total else 0.0


def hidden_share(places: Sequence[Rectangle], frames: Sequence[Rectangle]) -> float:
    """Return the largest fraction of any frame that tags cover; 0 without frames.

    Area that two tags cover counts twice.
    """
    covered = [sum(_intersection_area(frame, place) for place in places) / area(frame) for frame in frames]
    return max(covered, default=0.0)


def _best_place(
    candidates: Sequence[tuple[float, float]],
    tag: Size,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
    small: Sequence[Rectangle],
) -> Rectangle:
    """Return the first candidate that covers nothing, or the one that covers least.

    A place outside the image is moved inside; the distance adds to its cost.
    """
    width, height = tag
    costs: list[tuple[float, int, Rectangle]] = []
    for rank, (x, y) in enumerate(candidates):
        clamped_x = min(max(x, 0.0), max(0.0, size[0] - width - 1))
        clamped_y = min(max(y, 0.0), max(0.0, size[1] - height - 1))
        place = (clamped_x, clamped_y, clamped_x + width, clamped_y + height)
        moved = abs(clamped_x - x) * 0.1 + abs(clamped_y - y)
        cost = sum(_intersection_area(place, other) for other in taken) + moved * width * 0.5
        cost += 0.5 * sum(_intersection_area(place, other) for other in small)
        costs.append((cost, rank, place))
    return min(costs)[2]


def _candidates(frame: Rectangle, tag: Size, scale: Scale) -> list[tuple[float, float]]:
    """Return top left corners for a tag: outside the frame's corners, inside them, then centred."""
    x1, y1, x2, y2 = frame
    width, height = tag
    overhang = scale.line / 2 + scale.edge
    left, right = x1 - overhang, x2 + overhang - width
    middle = (left + right) / 2
    rows = (y1 - height + overhang / 2, y2 - overhang / 2, y1 - overhang, y2 + overhang - height)
    corners = [(x, y) for y in rows for x in (left, right)]
    return corners + [(middle, y) for y in rows]


def _has_room(frame: Rectangle, tag: Size) -> bool:
    sides = (frame[2] - frame[0], frame[3] - frame[1])
    return all(side >= _ROOMY_IN_TAGS * tag_side for side, tag_side in zip(sides, tag, strict=True))


def area(rectangle: Rectangle) -> float:
    """Return the area of a rectangle."""
    return (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1])


def _intersection_area(first: Rectangle, second: Rectangle) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, across) * max(0.0, down)

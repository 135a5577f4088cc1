"""Outlines of the six shapes as polygons, turned and scaled to a given diameter."""

import functools
import math
from typing import Final

Points = tuple[tuple[float, float], ...]
_CIRCLE_CORNERS: Final = 48
_HEART_CORNERS: Final = 48
_STAR_INNER: Final = 0.42
"""Inner over outer radius of the star: a little plumper than a pentagram, to hold its fill."""
_CROSS_ARM: Final = 0.36
"""Half width of a cross's arm, relative to its half length."""


def _regular(corners: int, start_deg: float) -> Points:
    angles = (math.radians(start_deg + 360 * k / corners) for k in range(corners))
    return tuple((math.cos(angle), math.sin(angle)) for angle in angles)


def _star() -> Points:
    corners = _regular(10, -90)
    return tuple(
        (x, y) if k % 2 == 0 else (_STAR_INNER * x, _STAR_INNER * y) for k, (x, y) in enumerate(corners)
    )


def _heart() -> Points:
    points = []
    for k in range(_HEART_CORNERS):
        t = 2 * math.pi * k / _HEART_CORNERS
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((16 * math.sin(t) ** 3, -y))
    return tuple(points)


def _cross() -> Points:
    a = _CROSS_ARM
    quarter = ((a, -1.0), (a, -a), (1.0, -a))
    points: list[tuple[float, float]] = []
    for _ in range(4):
        points.extend(quarter)
        quarter = tuple((-y, x) for x, y in quarter)  # type: ignore[assignment]
    return tuple(points)


_OUTLINES: Final[dict[str, Points]] = {
    "circle": _regular(_CIRCLE_CORNERS, 0),
    "square": _regular(4, 45),
    "triangle": _regular(3, -90),
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
}


@functools.lru_cache(maxsize=4096)
def _turned(shape: str, turn_deg: float) -> Points:
    """The outline turned clockwise, with its box centred on 0, 0 and the box's longer side 1."""
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    turned = [(x * cos - y * sin, x * sin + y * cos) for x, y in _OUTLINES[shape]]
    xs, ys = [x for x, _ in turned], [y for _, y in turned]
    scale = 1 / max(max(xs) - min(xs), max(ys) - min(ys))
    center_x, center_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return tuple(((x - center_x) * scale, (y - center_y) * scale) for x, y in turned)


def outline(shape: str, turn_deg: float, diameter: float) -> Points:
    """Corners (x, y) of a shape; its box has its centre at 0, 0 and `diameter` as its longer side."""
    return tuple((x * diameter, y * diameter) for x, y in _turned(shape, turn_deg))


@functools.lru_cache(maxsize=4096)
def _unit_extent(shape: str, turn_deg: float) -> tuple[float, float]:
    points = _turned(shape, turn_deg)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    # Rounded, so that the longer side is exactly 1 and not an ulp more (it is later rounded up to pixels).
    return round(max(xs) - min(xs), 9), round(max(ys) - min(ys), 9)


def extent_wh(shape: str, turn_deg: float, diameter: float) -> tuple[float, float]:
    """Width and height of a turned shape."""
    width, height = _unit_extent(shape, turn_deg)
    return width * diameter, height * diameter


def area(shape: str, turn_deg: float, diameter: float) -> float:
    """Area inside the outline."""
    points = outline(shape, turn_deg, diameter)
    following = (*points[1:], points[0])
    doubled = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, following, strict=True))
    return abs(doubled) / 2

"""The made world: the contents of a picture, before it is drawn.

A `Scene` holds everything that the picture shows (objects, background, noise), so drawing it needs no further
random numbers. Coordinates are pixels, x to the right and y down; boxes are x1, y1, x2, y2 with x2 and y2
exclusive, so that x2 - x1 is the width.
"""

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lxmert.scenes.lexicon import COLORS, COLORS_RGB, FILLS, SHAPES
from lxmert.scenes.randomness import weighted_choice
from lxmert.scenes.shapes import extent_wh

if TYPE_CHECKING:
    from torch import Tensor

OBJECTS_MIN: Final = 2
OBJECTS_MAX: Final = 10
SIDE_PX: Final = (168, 224)
"""Shortest and longest side of a picture."""
ASPECT_MAX: Final = 1.3
"""Longest side over shortest side."""
DIAMETER_PX: Final[dict[str, tuple[int, int]]] = {"small": (22, 28), "large": (40, 52)}
"""Longer side of an object's box. The classes are far apart, so that a size is never in doubt."""
GAP_PX: Final = 4
"""Minimum distance between two boxes: objects never touch."""
BORDER_PX: Final = 2
COLOR_JITTER: Final = 10
"""Maximum deviation from a colour's prototype in each channel, of 255."""
MAX_TURN_DEG: Final = 9.0
"""Maximum turn of an object in either direction."""
BACKGROUNDS: Final = ("plain", "gradient", "blotches", "checker", "dots", "lines")
_MAX_PLACEMENT_ATTEMPTS = 60


@dataclass(frozen=True)
class SceneObject:
    """One drawn object.

    Attributes:
        shape: One of `lexicon.SHAPES`.
        color: One of `lexicon.COLORS`.
        size: "small" or "large".
        fill: "solid", "hollow" or "striped".
        box_xyxy_px: Tight box in whole pixels.
        color_rgb: The colour as drawn, 0..255.
        turn_deg: Turn of the outline, clockwise.
        stripes_deg: Direction of the stripes.
    """

    shape: str
    color: str
    size: str
    fill: str
    box_xyxy_px: tuple[int, int, int, int]
    color_rgb: tuple[int, int, int] = (0, 0, 0)
    turn_deg: float = 0.0
    stripes_deg: float = 45.0

    @property
    def center_px(self) -> tuple[float, float]:
        """Centre of the box, (x, y)."""
        x1, y1, x2, y2 = self.box_xyxy_px
        return (x1 + x2) / 2, (y1 + y2) / 2

    @property
    def diameter_px(self) -> int:
        """Longer side of the box."""
        x1, y1, x2, y2 = self.box_xyxy_px
        return max(x2 - x1, y2 - y1)

    def attribute(self, name: str) -> str:
        """Value of "shape", "color", "size" or "fill"."""
        return str(getattr(self, name))


@dataclass(frozen=True)
class Background:
    """The background of the objects: a pattern of two similar pale colours.

    Attributes:
        kind: One of `BACKGROUNDS`.
        color_rgb: First colour.
        other_rgb: Second colour; "plain" does not use it.
        period_px: Length of one repetition of the pattern.
        angle_deg: Direction of the pattern.
        noise: Maximum change of a channel by noise, of 255; objects have it too.
        seed: Seed of the pattern's and the noise's random numbers.
    """

    kind: str
    color_rgb: tuple[int, int, int]
    other_rgb: tuple[int, int, int]
    period_px: int
    angle_deg: float
    noise: int
    seed: int


@dataclass(frozen=True)
class Scene:
    """One picture: its size (height, width) in pixels, its objects in drawing order, its background."""

    size_hw: tuple[int, int]
    objects: tuple[SceneObject, ...]
    background: Background

    def boxes_xyxy_px(self) -> "Tensor":
        """The objects' boxes, (N, 4) float32 in pixels, in the order of `objects`."""
        import torch  # here, because making scenes otherwise needs no torch

        return torch.tensor([obj.box_xyxy_px for obj in self.objects], dtype=torch.float32)


def make_scene(rng: random.Random) -> Scene:
    """Draw a scene of 2 to 10 objects that do not touch each other."""
    while True:
        size_hw = _sample_image_size(rng)
        count = rng.randint(OBJECTS_MIN, OBJECTS_MAX)
        objects = _sample_objects(rng, count, size_hw)
        if objects is not None:
            return Scene(size_hw, objects, _sample_background(rng))


def _sample_image_size(rng: random.Random) -> tuple[int, int]:
    low, high = SIDE_PX
    while True:
        height, width = rng.randint(low, high), rng.randint(low, high)
        if max(height, width) <= ASPECT_MAX * min(height, width):
            return height, width


def _sample_objects(
    rng: random.Random, count: int, size_hw: tuple[int, int]
) -> tuple[SceneObject, ...] | None:
    # A third of the scenes repeat few shapes or colours, so that counts exceed one or two and an object is
    # identified only by two attributes together.
    shapes = rng.sample(SHAPES, rng.choice((2, 3, 6, 6, 6)))
    colors = rng.sample(COLORS, rng.choice((2, 3, 8, 8, 8)))
    large_share = rng.choice((0.25, 0.5, 0.5, 0.75))
    objects: list[SceneObject] = []
    for _ in range(count):
        size = weighted_choice(rng, {"large": large_share, "small": 1 - large_share})
        placed = _place_object(rng, objects, rng.choice(shapes), rng.choice(colors), size, size_hw)
        if placed is None:
            return None
        objects.append(placed)
    return tuple(objects)


def _place_object(
    rng: random.Random,
    others: list[SceneObject],
    shape: str,
    color: str,
    size: str,
    size_hw: tuple[int, int],
) -> SceneObject | None:
    """The object at a free place, or None if the picture is full."""
    turn_deg = round(rng.uniform(-MAX_TURN_DEG, MAX_TURN_DEG), 1)
    diameter = rng.randint(*DIAMETER_PX[size])
    width, height = (math.ceil(side) for side in extent_wh(shape, turn_deg, diameter))
    for _ in range(_MAX_PLACEMENT_ATTEMPTS):
        x1 = rng.randint(BORDER_PX, size_hw[1] - BORDER_PX - width)
        y1 = rng.randint(BORDER_PX, size_hw[0] - BORDER_PX - height)
        box = (x1, y1, x1 + width, y1 + height)
        if not any(_are_too_close(box, other.box_xyxy_px) for other in others):
            return SceneObject(
                shape=shape,
                color=color,
                size=size,
                fill=rng.choice(FILLS),
                box_xyxy_px=box,
                color_rgb=_jitter(rng, COLORS_RGB[color]),
                turn_deg=turn_deg,
                stripes_deg=float(rng.choice((0, 45, 90, 135))),
            )
    return None


def _are_too_close(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return (
        first[0] < second[2] + GAP_PX
        and second[0] < first[2] + GAP_PX
        and first[1] < second[3] + GAP_PX
        and second[1] < first[3] + GAP_PX
    )


def _jitter(rng: random.Random, color_rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (
        min(255, max(0, channel + rng.randint(-COLOR_JITTER, COLOR_JITTER))) for channel in color_rgb
    )
    return red, green, blue


def _sample_background(rng: random.Random) -> Background:
    # Pale and hardly saturated, in contrast with every object colour from black to yellow.
    base = rng.randint(206, 250)
    red, green, blue = (base - rng.randint(0, 26) for _ in range(3))
    step = rng.choice((-1, 1)) * rng.randint(8, 18)
    return Background(
        kind=rng.choice(BACKGROUNDS),
        color_rgb=(red, green, blue),
        other_rgb=(min(255, red + step), min(255, green + step), min(255, blue + step)),
        period_px=rng.randint(10, 28),
        angle_deg=float(rng.randrange(0, 180, 15)),
        noise=rng.randint(2, 8),
        seed=rng.getrandbits(32),
    )

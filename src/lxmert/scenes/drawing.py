"""Drawing a scene: antialiased objects on a textured background, with noise over everything.

Each object is drawn separately at `_OVERSAMPLING` times its size, as masks, then reduced and pasted. Patterns
and noise use integer arithmetic only, so that a seed gives the same pixels on every processor.
"""

import random
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw

from lxmert.scenes.shapes import outline
from lxmert.scenes.world import Background, Scene, SceneObject

Rgb = tuple[int, int, int]
_OVERSAMPLING: Final = 4
_EDGE_PX: Final = 1.3
_RING_OF_DIAMETER: Final = 0.1
_RING_MIN_PX: Final = 2.6
_STRIPES: Final = 3.5
"""Periods of the stripes over the diameter: few enough to survive a crop shrunk to 10 by 10 pixels."""
_STRIPE_SHARE: Final = 0.5
_EDGE_BRIGHTNESS: Final = 0.72
_PALE_SHARE: Final = 0.8


def draw_scene(scene: Scene) -> Image.Image:
    """Draw the picture, RGB, of size `scene.size_hw`."""
    rng = random.Random(scene.background.seed)
    image = Image.fromarray(_background(scene.background, scene.size_hw, rng))
    for obj in scene.objects:
        draw_object(image, obj)
    return _add_noise(image, scene.background.noise, rng)


def draw_object(image: Image.Image, obj: SceneObject) -> None:
    """Draw one object onto an RGB image, in place; no pixel outside its box changes."""
    x1, y1, x2, y2 = obj.box_xyxy_px
    size = ((x2 - x1) * _OVERSAMPLING, (y2 - y1) * _OVERSAMPLING)
    center_x, center_y = (size[0] - 1) / 2, (size[1] - 1) / 2
    # One oversampled pixel less, because Pillow's polygons include their border.
    corners = [
        (x + center_x, y + center_y)
        for x, y in outline(obj.shape, obj.turn_deg, obj.diameter_px * _OVERSAMPLING - 1)
    ]
    silhouette = Image.new("L", size)
    ImageDraw.Draw(silhouette).polygon(corners, fill=255)
    color, dark = obj.color_rgb, _blend(obj.color_rgb, (0, 0, 0), 1 - _EDGE_BRIGHTNESS)
    if obj.fill == "hollow":
        ring_px = max(_RING_MIN_PX, _RING_OF_DIAMETER * obj.diameter_px)
        _paste(image, color, (x1, y1), _ring(silhouette, corners, ring_px))
        return
    if obj.fill == "striped":
        _paste(image, _blend(color, (255, 255, 255), _PALE_SHARE), (x1, y1), silhouette)
        _paste(image, color, (x1, y1), ImageChops.darker(silhouette, _stripes(obj, size)))
    else:
        _paste(image, color, (x1, y1), silhouette)
    _paste(image, dark, (x1, y1), _ring(silhouette, corners, _EDGE_PX))


def _paste(image: Image.Image, color_rgb: Rgb, at_xy: tuple[int, int], mask: Image.Image) -> None:
    small = mask.reduce(_OVERSAMPLING)
    image.paste(color_rgb, (*at_xy, at_xy[0] + small.width, at_xy[1] + small.height), small)


def _ring(silhouette: Image.Image, corners: list[tuple[float, float]], thickness_px: float) -> Image.Image:
    """The part of the silhouette within `thickness_px` of its outline."""
    line = Image.new("L", silhouette.size)
    width = round(2 * thickness_px * _OVERSAMPLING)
    # The second point is repeated at the end, so that the joint at the first corner is drawn too.
    ImageDraw.Draw(line).line([*corners, *corners[:2]], fill=255, width=width, joint="curve")
    return ImageChops.darker(silhouette, line)


def _stripes(obj: SceneObject, size_wh: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size_wh)
    draw = ImageDraw.Draw(mask)
    width, height = size_wh
    period = obj.diameter_px * _OVERSAMPLING / _STRIPES
    thickness = max(1, round(period * _STRIPE_SHARE))
    reach = width + height
    slant = {0.0: (1, 0), 45.0: (1, 1), 90.0: (0, 1), 135.0: (-1, 1)}[obj.stripes_deg]
    if slant[0] and slant[1]:
        period *= 2**0.5
    for k in range(-int(reach / period) - 1, int(reach / period) + 2):
        # A line through a point k periods from the centre, at a right angle to the stripes' axis.
        x, y = width / 2, height / 2
        if slant == (1, 0):
            y += k * period
        else:
            x += k * period
        start = (x - slant[0] * reach, y - slant[1] * reach)
        end = (x + slant[0] * reach, y + slant[1] * reach)
        draw.line([start, end], fill=255, width=thickness)
    return mask


def _blend(color_rgb: Rgb, other_rgb: Rgb, share: float) -> Rgb:
    """Mix a fraction `share` of another colour into a colour."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color_rgb, other_rgb, strict=True))
    return red, green, blue


def _background(
    background: Background, size_hw: tuple[int, int], rng: random.Random
) -> npt.NDArray[np.uint8]:
    share = _pattern(background, size_hw, rng)[..., None]
    first = np.array(background.color_rgb, dtype=np.int32)
    other = np.array(background.other_rgb, dtype=np.int32)
    return ((first * (255 - share) + other * share) // 255).astype(np.uint8)


def _pattern(background: Background, size_hw: tuple[int, int], rng: random.Random) -> npt.NDArray[np.int32]:
    """The proportion of the second colour in each pixel, (height, width), 0..255."""
    height, width = size_hw
    period = background.period_px
    y, x = np.ogrid[0:height, 0:width]
    if background.kind == "gradient":
        # Integer weights of the two directions; the sum runs from 0 to 255 over the picture.
        across = int(background.angle_deg)
        full = across * (width - 1) + (180 - across) * (height - 1)
        return ((across * x + (180 - across) * y) * 255 // max(1, full)).astype(np.int32)
    if background.kind == "blotches":
        coarse = Image.frombytes("L", (8, 8), rng.randbytes(64))
        return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int32)
    if background.kind == "checker":
        return np.where((x // period + y // period) % 2 == 0, 255, 0).astype(np.int32)
    if background.kind == "dots":
        half = period // 2
        squared = (x % period - half) ** 2 + (y % period - half) ** 2
        return np.where(squared * 16 <= period * period, 255, 0).astype(np.int32)
    if background.kind == "lines":
        along = (x, y, x + y)[int(background.angle_deg) // 60 % 3]
        return np.broadcast_to(np.where(along % period * 3 < period, 255, 0), size_hw).astype(np.int32)
    return np.zeros(size_hw, dtype=np.int32)


def _add_noise(image: Image.Image, amplitude: int, rng: random.Random) -> Image.Image:
    """Add noise of triangular distribution, at most `amplitude` of 255 up or down."""
    pixels = np.asarray(image).astype(np.int32)
    raw = np.frombuffer(rng.randbytes(2 * pixels.size), dtype=np.uint8).reshape(2, *pixels.shape)
    # 127 more, so that the quotient is rounded rather than floored.
    noise = ((raw[0].astype(np.int32) - raw[1]) * amplitude + 127) // 255
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))

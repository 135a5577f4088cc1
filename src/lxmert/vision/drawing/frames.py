"""Frames around boxes: coloured lines with a white outline, visible on any background."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from lxmert.vision.drawing.style import WHITE, Colour, Rectangle, Scale

_SUPERSAMPLED_PIXELS = 24_000_000
"""Lines are drawn at three times the size and downscaled (antialiasing), up to this many pixels."""


def frame_for_box(box: Sequence[float], factor: float, size: tuple[int, int], scale: Scale) -> Rectangle:
    """Return a box on the enlarged image, moved inwards where the border would cut off its line."""
    inset = scale.line / 2 + scale.edge
    x1, y1 = (max(inset, corner * factor) for corner in box[:2])
    x2, y2 = (min(side - inset, corner * factor) for corner, side in zip(box[2:], size, strict=True))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def draw_frames(image: Image.Image, frames: Sequence[tuple[Rectangle, Colour]], scale: Scale) -> Image.Image:
    """Return a copy of an RGB image with the frames drawn on it, the last one on top."""
    finer = 3 if image.width * image.height * 9 <= _SUPERSAMPLED_PIXELS else 1
    layer = Image.new("RGBA", (image.width * finer, image.height * finer))
    draw = ImageDraw.Draw(layer)
    half = scale.line / 2
    for (x1, y1, x2, y2), colour in frames:
        for grown, width, ink in (
            (half + scale.edge, scale.line + 2 * scale.edge, (*WHITE, 200)),
            (half, scale.line, (*colour, 255)),
        ):
            corners = [(x1 - grown) * finer, (y1 - grown) * finer, (x2 + grown) * finer, (y2 + grown) * finer]
            draw.rounded_rectangle(
                corners, radius=(scale.radius + grown) * finer, outline=ink, width=width * finer
            )
    if finer > 1:
        layer = layer.resize(image.size, Image.Resampling.BOX)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")

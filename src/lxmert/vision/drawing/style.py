"""Colours and sizes of all drawings, and their tags.

The colours are those of Okabe and Ito, which are distinct for all types of colour vision; sizes scale with
the image.
"""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from lxmert.vision.drawing.fonts import load_font

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (0, 158, 115),  # green
    (204, 121, 167),  # purple
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky
    (240, 228, 66),  # yellow
)
INK: Colour = (28, 30, 34)
SOFT_INK: Colour = (92, 97, 105)
PAPER: Colour = (250, 250, 248)
WHITE: Colour = (255, 255, 255)

_DARK_LETTERS_FROM = 0.25
"""Luminance of a background above which dark letters have more contrast than white ones."""


@dataclass(frozen=True)
class Scale:
    """Sizes in pixels.

    Attributes:
        line: line width of frames.
        edge: width of the white outline on either side of the line.
        font: font size of tags.
        padding: space between the text of a tag and its border.
        radius: radius of rounded corners.
    """

    line: int
    edge: int
    font: int
    padding: int
    radius: int

    @classmethod
    def for_image_size(cls, size: tuple[int, int], *, is_crowded: bool = False) -> "Scale":
        """Return the sizes for an image of (width, height); lines and font are smaller if it is crowded."""
        unit = (size[0] * size[1]) ** 0.5 / 100
        line = max(2, round(unit * (0.3 if is_crowded else 0.6)))
        font = max(14, round(unit * (2.0 if is_crowded else 2.9)))
        padding = max(4, round(font * (0.25 if is_crowded else 0.38)))
        return cls(line=line, edge=max(1, line // 3), font=font, padding=padding, radius=line * 2)


def palette_colour(index: int) -> Colour:
    """Return the colour of box number `index`, cycling through the palette."""
    return PALETTE[index % len(PALETTE)]


def text_colour_on(ground: Colour) -> Colour:
    """Return the text colour, dark or white, that is more legible on a background."""
    return INK if _luminance(ground) > _DARK_LETTERS_FROM else WHITE


def paint_tag(
    image: Image.Image,
    text: str,
    place: Rectangle,
    colour: Colour,
    scale: Scale,
    *,
    is_centred: bool = False,
) -> None:
    """Paint a rounded tag with text, in place.

    Args:
        image: RGB image, which is modified.
        text: one line of text; any part that does not fit is cut off.
        place: x1, y1, x2, y2 in pixels.
        colour: background colour.
        scale: sizes.
        is_centred: True centres the text; otherwise it is aligned to the left.
    """
    size = (round(place[2] - place[0]), round(place[3] - place[1]))
    layer = Image.new("RGBA", (size[0] * 3, size[1] * 3))
    ImageDraw.Draw(layer).rounded_rectangle(
        (0, 0, layer.width - 1, layer.height - 1),
        radius=scale.radius * 3,
        fill=colour,
        outline=WHITE,
        width=scale.edge * 3,
    )
    layer = layer.resize(size, Image.Resampling.BOX)
    start = (size[0] / 2, size[1] / 2) if is_centred else (scale.padding, size[1] / 2)
    anchor = "mm" if is_centred else "lm"
    ImageDraw.Draw(layer).text(
        start, text, fill=text_colour_on(colour), font=load_font(scale.font, text), anchor=anchor
    )
    image.paste(layer, (round(place[0]), round(place[1])), layer)


def _luminance(colour: Colour) -> float:
    """Return the relative luminance in 0..1 (WCAG 2)."""
    linear = [
        (value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

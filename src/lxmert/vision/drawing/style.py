"""Colours, sizes and letters of every drawing.

Colours are those of Okabe and Ito, which people of any colour vision tell apart; sizes grow with the picture.
"""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

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
"""Luminance of a ground from which dark letters stand out better than white ones."""


@dataclass(frozen=True)
class Scale:
    """Sizes in pixels.

    Attributes:
        line: width of a frame's line.
        edge: width of the white edge on either side of it.
        font: size of the letters of tags.
        padding: between the letters of a tag and its border.
        radius: of rounded corners.
    """

    line: int
    edge: int
    font: int
    padding: int
    radius: int

    @classmethod
    def of(cls, size: tuple[int, int], *, is_crowded: bool = False) -> "Scale":
        """The sizes for a picture of (width, height); a crowded one has finer lines and smaller letters."""
        unit = (size[0] * size[1]) ** 0.5 / 100
        line = max(2, round(unit * (0.3 if is_crowded else 0.6)))
        font = max(14, round(unit * (2.0 if is_crowded else 2.9)))
        padding = max(4, round(font * (0.25 if is_crowded else 0.38)))
        return cls(line=line, edge=max(1, line // 3), font=font, padding=padding, radius=line * 2)


def colour_of(index: int) -> Colour:
    """The colour of box number `index`; after the last colour the first comes again."""
    return PALETTE[index % len(PALETTE)]


def font_of(size: int) -> Font:
    """Pillow's own letters of this size in pixels."""
    return ImageFont.load_default(size)


def ink_on(ground: Colour) -> Colour:
    """Dark or white, whichever can be read better on a ground."""
    return INK if _luminance(ground) > _DARK_LETTERS_FROM else WHITE


def paint_tag(
    picture: Image.Image,
    words: str,
    place: Rectangle,
    colour: Colour,
    scale: Scale,
    *,
    is_centred: bool = False,
) -> None:
    """Paint a rounded tag with words on the picture itself.

    Args:
        picture: RGB image, changed.
        words: one line; what does not fit is cut off.
        place: x1, y1, x2, y2 in pixels.
        colour: of the ground.
        scale: sizes.
        is_centred: True puts the words into the middle instead of to the left.
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
    ImageDraw.Draw(layer).text(start, words, fill=ink_on(colour), font=font_of(scale.font), anchor=anchor)
    picture.paste(layer, (round(place[0]), round(place[1])), layer)


def _luminance(colour: Colour) -> float:
    """Relative luminance in 0..1 (WCAG 2)."""
    linear = [
        (value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

"""Attributes of the made objects and the English words for them.

Every value of an attribute is its own canonical word, used in answers and annotations; questions and
captions may use other words (`WORDS`).
"""

from typing import Final

ATTRIBUTES: Final = ("size", "fill", "color", "shape")
"""The four attributes, in the order in which English puts them before a noun."""

SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "cross")
SIZES: Final = ("small", "large")
FILLS: Final = ("solid", "hollow", "striped")

COLORS_RGB: Final[dict[str, tuple[int, int, int]]] = {
    "red": (212, 28, 36),
    "orange": (246, 128, 12),
    "yellow": (250, 208, 8),
    "green": (28, 148, 52),
    "cyan": (36, 196, 222),
    "blue": (32, 72, 214),
    "purple": (138, 42, 176),
    "black": (34, 34, 40),
}
"""Prototype of each colour, sRGB 0..255. Objects vary a little around it; the colours stay far apart."""
COLORS: Final = tuple(COLORS_RGB)

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "size": SIZES,
    "fill": FILLS,
    "color": COLORS,
    "shape": SHAPES,
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "small": ("small", "little", "tiny"),
    "large": ("large", "big"),
    "solid": ("solid", "filled"),
    "hollow": ("hollow", "empty"),
}
"""Other words for a value in questions and captions; a value that is not listed has only its own word."""

GENERIC_NOUNS: Final = ("thing", "object", "item")
"""Nouns that do not name the shape."""

PLURALS: Final[dict[str, str]] = {
    **{noun: f"{noun}s" for noun in (*GENERIC_NOUNS, *SHAPES)},
    "cross": "crosses",
}

NUMBER_WORDS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

PLACES: Final = ("left", "right", "top", "bottom")
"""Sides and halves of a picture."""

RELATIONS: Final[dict[str, tuple[str, ...]]] = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "higher than"),
    "below": ("below", "lower than"),
}
"""Phrases of the four spatial relations between the centres of two objects."""


def with_article(phrase: str) -> str:
    """'red star' -> 'a red star', 'orange star' -> 'an orange star'."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"

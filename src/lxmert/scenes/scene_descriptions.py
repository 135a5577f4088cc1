"""Descriptions of a whole picture: sentences that give the attributes and place of every object.

Captions and phrases name one or two objects, so they hardly ever describe an object that is masked from a
model. Here all attributes of all objects are named, in random order, each object with its place in thirds of
the picture, so that a masked object's box identifies its words. In any wording an object takes nine words and
a joint, and the first starts at the third word: a small model from random weights learns which words belong
together from their positions alone, and sooner if these are constant.
"""

import random
from typing import Final

from lxmert.scenes.lexicon import ATTRIBUTES, with_article
from lxmert.scenes.object_descriptions import describe, phrase
from lxmert.scenes.randomness import shuffled
from lxmert.scenes.world import Scene, SceneObject

DESCRIPTIONS: Final = 3
"""Descriptions of an image."""
OPENINGS: Final = ("There is", "You see", "Look at")
SEPARATORS: Final = ((", ", " and "), (" and ", " and "), ("; ", "; "))
"""Text between the objects, and before the last one."""
COLUMNS: Final = ("left", "", "right")
ROWS: Final = ("top", "", "bottom")
MIDDLE: Final = ("away from every side", "away from each side")
"""The place of an object at no side; the made world's older models have no word for the middle."""


def generate_descriptions(scene: Scene, rng: random.Random) -> list[str]:
    """Different sentences about all objects of a scene, of 10 words and marks for each object and 2 more."""
    sentences: dict[str, None] = {}
    # Two objects can be ordered and worded in dozens of ways, so this terminates.
    while len(sentences) < DESCRIPTIONS:
        sentences.setdefault(_sentence(scene, rng))
    return list(sentences)


def _sentence(scene: Scene, rng: random.Random) -> str:
    opening = rng.choice(OPENINGS)
    separator, last_separator = rng.choice(SEPARATORS)
    parts = [
        f"{with_article(phrase(describe(obj, ATTRIBUTES), rng))} {_place(scene, obj, rng)}"
        for obj in shuffled(rng, scene.objects)
    ]
    return f"{opening} {separator.join(parts[:-1])}{last_separator}{parts[-1]}."


def _place(scene: Scene, obj: SceneObject, rng: random.Random) -> str:
    """The words for the one of nine fields of the picture that contains an object's centre."""
    height, width = scene.size_hw
    x, y = obj.center_px
    sides = [side for side in (ROWS[_third(y / height)], COLUMNS[_third(x / width)]) if side]
    if not sides:
        return rng.choice(MIDDLE)
    return " ".join(["at the", *(["very"] if len(sides) == 1 else []), *sides])


def _third(position: float) -> int:
    """The third, 0, 1 or 2, of a position from 0 up to, but not including, 1."""
    return int(3 * position)

"""Descriptions of a whole picture: sentences that say of every object what it is and where it lies.

Captions and phrases name one or two objects, so of an object that is hidden from a model they hardly ever
tell anything. Here all attributes of all objects are named, in random order, each object with its place in
thirds of the picture: whoever knows a hidden object's box can find its words. However it is worded, an
object takes nine words and a joint, and they begin with the third word: a small model from random weights
learns which words belong together from their positions alone, and sooner where these stay the same.
"""

import random
from typing import Final

from lxmert.scenes.describing import describe, phrase
from lxmert.scenes.lexicon import ATTRIBUTES, with_article
from lxmert.scenes.randomness import shuffled
from lxmert.scenes.world import Scene, SceneObject

DESCRIPTIONS: Final = 3
"""Descriptions of an image."""
OPENINGS: Final = ("There is", "You see", "Look at", "Picture with")
JOINTS: Final = ((", ", ", "), (", ", " and "), (" and ", " and "), ("; ", "; "))
"""What stands between the objects, and before the last one."""
COLUMNS: Final = ("left", "", "right")
ROWS: Final = ("top", "", "bottom")
PREPOSITIONS: Final = ("at the", "on the")
MIDDLE: Final = ("away from every side", "away from each side")
"""The place of what lies at no side; the made world's older models know no word for the middle."""


def description(scene: Scene, rng: random.Random) -> list[str]:
    """Different sentences about all objects of a scene, of 10 words and marks for each object and 2 more."""
    made: dict[str, None] = {}
    # The order of two objects and the words for them differ in hundreds of ways, so this ends.
    while len(made) < DESCRIPTIONS:
        made.setdefault(_sentence(scene, rng))
    return list(made)


def _sentence(scene: Scene, rng: random.Random) -> str:
    opening = rng.choice(OPENINGS)
    between, before_last = rng.choice(JOINTS)
    preposition = rng.choice(PREPOSITIONS)
    parts = [
        f"{with_article(phrase(describe(thing, ATTRIBUTES), rng))} {_place(scene, thing, preposition, rng)}"
        for thing in shuffled(rng, scene.objects)
    ]
    return f"{opening} {between.join(parts[:-1])}{before_last}{parts[-1]}."


def _place(scene: Scene, thing: SceneObject, preposition: str, rng: random.Random) -> str:
    """In which of the nine fields of the picture the centre of an object lies."""
    height, width = scene.size_hw
    x, y = thing.center_px
    sides = [side for side in (ROWS[_third(y / height)], COLUMNS[_third(x / width)]) if side]
    if not sides:
        return rng.choice(MIDDLE)
    return " ".join([preposition, *(["very"] if len(sides) == 1 else []), *sides])


def _third(share: float) -> int:
    """0, 1 or 2 for a share of a side in 0..1."""
    return min(int(3 * share), 2)

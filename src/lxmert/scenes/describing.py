"""Descriptions of objects in a scene: how many objects they fit, and their words.

A description is a tuple of (attribute, value) pairs in the order of `lexicon.ATTRIBUTES`; the empty one fits
every object.
"""

import itertools
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from lxmert.scenes.lexicon import ATTRIBUTES, GENERIC_NOUNS, PLURALS, VALUES, WORDS
from lxmert.scenes.world import Scene, SceneObject

Description = tuple[tuple[str, str], ...]
_LENGTH_WEIGHTS: Final = {0: 1, 1: 4, 2: 4, 3: 1}
"""Weights of a reference's number of attributes, if all are possible; four are never needed."""
_SUBSETS: Final = tuple(
    names for length in range(len(ATTRIBUTES) + 1) for names in itertools.combinations(ATTRIBUTES, length)
)
_NEAR_MISSES: Final = 8


class View:
    """A scene with the counts of all descriptions that fit something in it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.counts: Counter[Description] = Counter()
        self._of_object: list[list[Description]] = []
        for thing in scene.objects:
            fitting = [describe(thing, names) for names in _SUBSETS]
            self.counts.update(fitting)
            self._of_object.append(fitting)

    def count(self, description: Description) -> int:
        """Number of objects that a description fits."""
        return self.counts.get(description, 0)

    def reference(
        self, rng: random.Random, without: Collection[str] = (), other_than: SceneObject | None = None
    ) -> tuple[SceneObject, Description] | None:
        """A random object with a description that fits only it; None if there is none.

        Args:
            rng: source of randomness.
            without: attributes that the description must not mention.
            other_than: an object that must not be chosen.
        """
        order = rng.sample(range(len(self.scene.objects)), len(self.scene.objects))
        for index in order:
            thing = self.scene.objects[index]
            if thing is other_than:
                continue
            fitting = [
                description
                for description in self._of_object[index]
                if len(description) in _LENGTH_WEIGHTS
                and self.counts[description] == 1
                and not any(name in without for name, _ in description)
            ]
            if fitting:
                weights = [_LENGTH_WEIGHTS[len(description)] for description in fitting]
                return thing, rng.choices(fitting, weights=weights)[0]
        return None

    def present(self, rng: random.Random, names: Sequence[str]) -> Description:
        """The description of a random object by these attributes."""
        return describe(rng.choice(self.scene.objects), names)

    def absent(self, rng: random.Random, names: Sequence[str]) -> Description | None:
        """A description that fits nothing but nearly fits an object; None if none was found."""
        for _ in range(_NEAR_MISSES):
            values = dict(self.present(rng, names))
            changed = rng.choice(names)
            values[changed] = rng.choice(VALUES[changed])
            description = tuple(values.items())
            if not self.count(description):
                return description
        return None

    def maybe(self, rng: random.Random, names: Sequence[str]) -> Description | None:
        """`present` or `absent` by a fair coin."""
        return self.present(rng, names) if rng.random() < 0.5 else self.absent(rng, names)

    def at_random(self, rng: random.Random, names: Sequence[str]) -> Description:
        """A description by these attributes that may fit any number of objects."""
        if rng.random() < 0.7:
            return self.present(rng, names)
        return tuple((name, rng.choice(VALUES[name])) for name in names)


def describe(thing: SceneObject, names: Sequence[str]) -> Description:
    """Describe an object by these attributes, given in the order of `ATTRIBUTES`."""
    return tuple((name, thing.attribute(name)) for name in names)


def in_order(values: Mapping[str, str]) -> Description:
    """Make a description of these values, in the order of `ATTRIBUTES`."""
    return tuple((name, values[name]) for name in ATTRIBUTES if name in values)


def phrase(description: Description, rng: random.Random, *, plural: bool = False) -> str:
    """Words of a description without article, such as "large striped star" or "red things"."""
    values = dict(description)
    noun = values.pop("shape", None) or rng.choice(GENERIC_NOUNS)
    words = [rng.choice(WORDS.get(value, (value,))) for value in values.values()]
    return " ".join([*words, PLURALS[noun] if plural else noun])

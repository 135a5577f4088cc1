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
from lxmert.scenes.programs import has_values
from lxmert.scenes.world import Scene, SceneObject

Description = tuple[tuple[str, str], ...]
_LENGTH_WEIGHTS: Final = {0: 1, 1: 4, 2: 4, 3: 1}
"""Weights of a reference's number of attributes, if all are possible; four are never needed."""
_SUBSETS: Final = tuple(
    names for length in range(len(ATTRIBUTES) + 1) for names in itertools.combinations(ATTRIBUTES, length)
)
_MAX_NEAR_MISS_ATTEMPTS: Final = 8


class SceneView:
    """A scene with the counts of all descriptions that fit something in it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.counts: Counter[Description] = Counter()
        self._descriptions_by_object: list[list[Description]] = []
        for obj in scene.objects:
            fitting = [describe(obj, names) for names in _SUBSETS]
            self.counts.update(fitting)
            self._descriptions_by_object.append(fitting)

    def count(self, description: Description) -> int:
        """Number of objects that a description fits."""
        return self.counts.get(description, 0)

    def matching(self, description: Description) -> list[SceneObject]:
        """The objects that a description fits."""
        values = dict(description)
        return [obj for obj in self.scene.objects if has_values(obj, values)]

    def sample_reference(
        self, rng: random.Random, exclude: Collection[str] = (), exclude_object: SceneObject | None = None
    ) -> tuple[SceneObject, Description] | None:
        """A random object with a description that fits only it; None if there is none.

        Args:
            rng: source of randomness.
            exclude: attributes that the description must not mention.
            exclude_object: an object that must not be chosen.
        """
        order = rng.sample(range(len(self.scene.objects)), len(self.scene.objects))
        for index in order:
            obj = self.scene.objects[index]
            if obj is exclude_object:
                continue
            fitting = [
                description
                for description in self._descriptions_by_object[index]
                if len(description) in _LENGTH_WEIGHTS
                and self.counts[description] == 1
                and not any(name in exclude for name, _ in description)
            ]
            if fitting:
                weights = [_LENGTH_WEIGHTS[len(description)] for description in fitting]
                return obj, rng.choices(fitting, weights=weights)[0]
        return None

    def sample_present(self, rng: random.Random, names: Sequence[str]) -> Description:
        """The description of a random object by these attributes."""
        return describe(rng.choice(self.scene.objects), names)

    def sample_absent(self, rng: random.Random, names: Sequence[str]) -> Description | None:
        """A description that fits nothing but nearly fits an object; None if none was found."""
        for _ in range(_MAX_NEAR_MISS_ATTEMPTS):
            values = dict(self.sample_present(rng, names))
            changed = rng.choice(names)
            values[changed] = rng.choice(VALUES[changed])
            description = tuple(values.items())
            if not self.count(description):
                return description
        return None

    def sample_either(self, rng: random.Random, names: Sequence[str]) -> Description | None:
        """`sample_present` or `sample_absent` by a fair coin."""
        return self.sample_present(rng, names) if rng.random() < 0.5 else self.sample_absent(rng, names)

    def sample_any(self, rng: random.Random, names: Sequence[str]) -> Description:
        """A description by these attributes that may fit any number of objects."""
        if rng.random() < 0.7:
            return self.sample_present(rng, names)
        return tuple((name, rng.choice(VALUES[name])) for name in names)


def describe(obj: SceneObject, names: Sequence[str]) -> Description:
    """Describe an object by these attributes, given in the order of `ATTRIBUTES`."""
    return tuple((name, obj.attribute(name)) for name in names)


def includes(description: Description, other: Description) -> bool:
    """Whether all that the first description fits, the other one fits too: "red star" and "star"."""
    return set(other) <= set(description)


def is_nested(first: Description, second: Description) -> bool:
    """Whether one of two descriptions includes the other."""
    return includes(first, second) or includes(second, first)


def to_description(values: Mapping[str, str]) -> Description:
    """Make a description of these values, in the order of `ATTRIBUTES`."""
    return tuple((name, values[name]) for name in ATTRIBUTES if name in values)


def phrase(description: Description, rng: random.Random, *, plural: bool = False) -> str:
    """Words of a description without article, such as "large striped star" or "red things"."""
    values = dict(description)
    noun = values.pop("shape", None) or rng.choice(GENERIC_NOUNS)
    words = [rng.choice(WORDS.get(value, (value,))) for value in values.values()]
    return " ".join([*words, PLURALS[noun] if plural else noun])

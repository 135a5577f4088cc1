"""The subjects of GQA-style questions: things, the picture they are in, and steps that find them.

A `Thing` is described by attributes and, optionally, by its relation to another thing: "the star to the
left of the red heart".
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lxmert.scenes.describing import Description, View
from lxmert.scenes.gqa.semantics import (
    DIRECTIONS,
    NOBODY,
    Semantic,
    SemanticStep,
    evaluate,
    execute_semantic,
)
from lxmert.scenes.lexicon import VALUES
from lxmert.scenes.programs import has, only
from lxmert.scenes.world import Scene, SceneObject

PLACE_PROPERTIES: Final = ("hposition", "vposition")
PROPERTY_VALUES: Final[dict[str, tuple[str, ...]]] = {
    **VALUES,
    "hposition": ("left", "right"),
    "vposition": ("top", "bottom"),
    "main color": VALUES["color"],
    "main shape": VALUES["shape"],
}
"""Values of all properties that can be queried: attributes, places, and properties of the whole scene."""


def other_value(rng: random.Random, name: str, value: str) -> str:
    """A random value of a property other than this one."""
    return rng.choice([other for other in PROPERTY_VALUES[name] if other != value])


SAME: Final = "same "
"""Prefix of the relations "same color", "same size" and so on."""


@dataclass(frozen=True)
class Thing:
    """One object as a question refers to it.

    Attributes:
        description: Its attributes.
        relation: "left", "right", "above", "below", or "same color" and so on; None without one.
        origin: The description of the only object to which it has the relation.
    """

    description: Description
    relation: str | None = None
    origin: Description = ()

    @property
    def values(self) -> frozenset[tuple[str, str]]:
        """The description as a set."""
        return frozenset(self.description)


SCENE: Final = Thing((), "scene")
"""The whole picture in place of a thing."""


class Picture:
    """A scene with ids of its objects.

    Args:
        scene: The scene.
        object_ids: One id for each object.
    """

    def __init__(self, scene: Scene, object_ids: Sequence[str]) -> None:
        self.scene = scene
        self.view = View(scene)
        self.object_ids = tuple(object_ids)
        self._found: dict[Thing, SceneObject] = {}

    def fitting(self, description: Description) -> list[SceneObject]:
        """The objects that a description fits."""
        values = dict(description)
        return [thing for thing in self.scene.objects if has(thing, values)]

    def find(self, thing: Thing) -> SceneObject:
        """The one object that a thing refers to.

        Raises:
            AmbiguousProgramError: There are none or several.
        """
        if thing not in self._found:
            if thing.relation is None:
                self._found[thing] = only(self.fitting(thing.description))
            else:
                self._found[thing] = only(self.related(thing.description, thing.relation, thing.origin))
        return self._found[thing]

    def related(self, description: Description, relation: str, origin: Description) -> list[SceneObject]:
        """The objects that a description fits and that have a relation, as in `Thing`, to the one origin.

        Raises:
            AmbiguousProgramError: One of them is almost level with the origin, or there is not one origin.
        """
        steps = Steps(self, with_ids=False)
        steps.related(description, relation, origin)
        found: list[SceneObject] = evaluate(steps.done(), self.scene)
        return found

    def value(self, thing: Thing, name: str) -> str:
        """A property of a thing, or of `SCENE`.

        Raises:
            AmbiguousProgramError: It is ambiguous.
        """
        steps = Steps(self, with_ids=False)
        steps.add("query", name, steps.thing(thing))
        return execute_semantic(steps.done(), self.scene)

    def id(self, thing: SceneObject) -> str:
        """The id of an object."""
        return self.object_ids[self.scene.objects.index(thing)]

    def first_id(self, description: Description) -> str | None:
        """The id of the first object that fits."""
        fitting = self.fitting(description)
        return self.id(fitting[0]) if fitting else None


class Steps:
    """A program being written."""

    def __init__(self, picture: Picture, *, with_ids: bool = True) -> None:
        self._picture = picture
        self._with_ids = with_ids
        self._steps: list[SemanticStep] = []

    def add(self, operation: str, argument: str = "", *dependencies: int) -> int:
        """Add a step; returns its number."""
        self._steps.append(SemanticStep(operation, argument, dependencies))
        return len(self._steps) - 1

    def select(self, description: Description) -> int:
        """Add the steps that select the objects that a description fits."""
        values = dict(description)
        name = values.pop("shape", None)
        # If nothing fits, the ids are those of all objects of the shape.
        shape_only = (("shape", name),) if name else ()
        things = self._picture.fitting(description) or self._picture.fitting(shape_only)
        last = self.add("select", f"{name or 'object'}{self._ids(things)}")
        return self._filter(values, last)

    def thing(self, thing: Thing) -> int:
        """Add the steps that find a thing."""
        if thing == SCENE:
            return self.add("select", "scene")
        if thing.relation is None:
            return self.select(thing.description)
        return self.related(thing.description, thing.relation, thing.origin)

    def related(self, description: Description, relation: str, origin: Description) -> int:
        """Add the steps that find the objects that a description fits and that have a relation to another."""
        values = dict(description)
        name = values.pop("shape", "_")
        side = "_" if relation.startswith(SAME) else "s"
        found = self._picture.related(description, relation, origin) if self._with_ids else ()
        argument = f"{name},{DIRECTIONS.get(relation, relation)},{side}{self._ids(found)}"
        return self._filter(values, self.add("relate", argument, self.select(origin)))

    def named(self, description: Description, relation: str) -> str:
        """The argument that identifies a thing by its shape and its relation to another thing."""
        return f"{dict(description)['shape']},{relation},s{self._ids(self._picture.fitting(description))}"

    def done(self) -> Semantic:
        """The program."""
        return tuple(self._steps)

    def _filter(self, values: dict[str, str], last: int) -> int:
        for name, value in values.items():
            last = self.add(f"filter {name}", value, last)
        return last

    def _ids(self, things: Sequence[SceneObject]) -> str:
        if not self._with_ids:
            return ""
        return f" ({','.join(self._picture.id(thing) for thing in things) or NOBODY})"

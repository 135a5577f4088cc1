"""The subjects of GQA-style questions: references to objects, their scene, and programs that find them.

An `ObjectReference` consists of attributes and, optionally, a relation to another object: "the star to the
left of the red heart".
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lxmert.scenes.gqa.semantics import (
    DIRECTIONS,
    NO_IDS,
    Semantic,
    SemanticStep,
    evaluate,
    execute_semantic,
)
from lxmert.scenes.lexicon import VALUES
from lxmert.scenes.object_descriptions import Description, SceneView
from lxmert.scenes.programs import require_single
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
class ObjectReference:
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


SCENE: Final = ObjectReference((), "scene")
"""The whole picture in place of an object."""


class GqaScene:
    """A scene with ids of its objects.

    Args:
        scene: The scene.
        object_ids: One id for each object.
    """

    def __init__(self, scene: Scene, object_ids: Sequence[str]) -> None:
        self.scene = scene
        self.view = SceneView(scene)
        self.object_ids = tuple(object_ids)
        self._resolved: dict[ObjectReference, SceneObject] = {}

    def matching(self, description: Description) -> list[SceneObject]:
        """The objects that a description fits."""
        return self.view.matching(description)

    def resolve(self, reference: ObjectReference) -> SceneObject:
        """The one object that a reference denotes.

        Raises:
            AmbiguousProgramError: There are none or several.
        """
        if reference not in self._resolved:
            if reference.relation is None:
                objects = self.matching(reference.description)
            else:
                objects = self.related(reference.description, reference.relation, reference.origin)
            self._resolved[reference] = require_single(objects)
        return self._resolved[reference]

    def related(self, description: Description, relation: str, origin: Description) -> list[SceneObject]:
        """The objects that a description fits and that have a relation to the one origin.

        Relations are those of `ObjectReference`.

        Raises:
            AmbiguousProgramError: One of them is almost level with the origin, or there is not one origin.
        """
        program = ProgramBuilder(self, with_ids=False)
        program.select_related(description, relation, origin)
        found: list[SceneObject] = evaluate(program.build(), self.scene)
        return found

    def property_value(self, reference: ObjectReference, name: str) -> str:
        """A property of a referenced object, or of `SCENE`.

        Raises:
            AmbiguousProgramError: It is ambiguous.
        """
        program = ProgramBuilder(self, with_ids=False)
        program.add("query", name, program.select_reference(reference))
        return execute_semantic(program.build(), self.scene)

    def object_id(self, obj: SceneObject) -> str:
        """The id of an object."""
        return self.object_ids[self.scene.objects.index(obj)]


class ProgramBuilder:
    """A program being written."""

    def __init__(self, gqa_scene: GqaScene, *, with_ids: bool = True) -> None:
        self._gqa_scene = gqa_scene
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
        objects = self._gqa_scene.matching(description) or self._gqa_scene.matching(shape_only)
        last = self.add("select", f"{name or 'object'}{self._format_ids(objects)}")
        return self._filter(values, last)

    def select_reference(self, reference: ObjectReference) -> int:
        """Add the steps that find a referenced object."""
        if reference == SCENE:
            return self.add("select", "scene")
        if reference.relation is None:
            return self.select(reference.description)
        return self.select_related(reference.description, reference.relation, reference.origin)

    def select_related(self, description: Description, relation: str, origin: Description) -> int:
        """Add the steps that find the objects that a description fits and that have a relation to another."""
        values = dict(description)
        name = values.pop("shape", "_")
        side = "_" if relation.startswith(SAME) else "s"
        objects = self._gqa_scene.related(description, relation, origin) if self._with_ids else ()
        argument = f"{name},{DIRECTIONS.get(relation, relation)},{side}{self._format_ids(objects)}"
        return self._filter(values, self.add("relate", argument, self.select(origin)))

    def relation_argument(self, description: Description, relation: str) -> str:
        """The argument that identifies an object by its shape and its relation to another one."""
        matching = self._gqa_scene.matching(description)
        return f"{dict(description)['shape']},{relation},s{self._format_ids(matching)}"

    def build(self) -> Semantic:
        """The program."""
        return tuple(self._steps)

    def _filter(self, values: dict[str, str], last: int) -> int:
        for name, value in values.items():
            last = self.add(f"filter {name}", value, last)
        return last

    def _format_ids(self, objects: Sequence[SceneObject]) -> str:
        if not self._with_ids:
            return ""
        return f" ({','.join(self._gqa_scene.object_id(obj) for obj in objects) or NO_IDS})"

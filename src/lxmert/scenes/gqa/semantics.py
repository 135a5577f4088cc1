"""Programs in GQA's form (operation, argument, dependencies), executed on a scene.

Source: the field `semantic` of the published questions (Hudson & Manning 2019, arXiv 1902.09506). Step k may
use the results of the steps named in `dependencies`; the last step's result is the answer. An argument may
end in the ids of the objects it refers to, "star (17)", or "(-)" for none, which execution ignores.

=====================  =========================================================================
select: NAME           the objects of this shape, "object" for all; "scene" for the picture itself
filter P: V            those with this value of an attribute; "not(V)" for those with another one
relate: NAME,R,s       those of this shape ("_": any) that lie R as seen from the one object;
                       R may be "same color", ...: those that share the attribute with it
query: P               the value of a property: "name" (shape), "color", "size", "fill",
                       "hposition", "vposition"; of the scene "main color", "main shape"
verify P: V            whether it is this value
verify rel: NAME,R,s   whether the only object of this shape lies R as seen from the one object
choose P: V|W          which of the two values it is; "choose rel: NAME,R|R,s" left or right
exist: ?               whether there is any
and, or:               of two truth values
same P:, different P:  whether two objects share the attribute
same: P, different: P  whether all the objects, two at least, share the attribute or not
choose larger:         the shape of the larger of two objects
=====================  =========================================================================

As in `programs`, a question that a careful person could answer in two ways raises `AmbiguousProgramError`.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from lxmert.errors import InputError
from lxmert.scenes import programs
from lxmert.scenes.programs import AmbiguousProgramError, require_single
from lxmert.scenes.world import Scene, SceneObject

DIRECTIONS: Final = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
"""Directions of `programs` and GQA's names of these relations."""
ANY_NAME: Final = ("object", "_")
NO_IDS: Final = "-"
"""Stands for the ids of objects if there is no object."""
_DIRECTION_OF: Final = {name: direction for direction, name in DIRECTIONS.items()}
_IDS: Final = re.compile(r" \([\d,-]+\)$")
_NOT: Final = re.compile(r"not\((.+)\)")


class SemanticStep(NamedTuple):
    """One step of a program in GQA's form."""

    operation: str
    argument: str
    dependencies: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The step as stored on disk."""
        return {
            "operation": self.operation,
            "dependencies": list(self.dependencies),
            "argument": self.argument,
        }

    def __str__(self) -> str:
        used = f" [{', '.join(map(str, self.dependencies))}]" if self.dependencies else ""
        return f"{self.operation}: {self.argument}{used}"


Semantic = tuple[SemanticStep, ...]


def semantic_string(steps: Sequence[SemanticStep]) -> str:
    """The steps in one line, as in the field `semanticStr`."""
    return "->".join(map(str, steps))


def execute_semantic(steps: Sequence[SemanticStep], scene: Scene) -> str:
    """Execute a program; returns its answer as a word: "yes", "no", or a property's value.

    Raises:
        AmbiguousProgramError: The scene leaves the answer open.
        InputError: An unknown operation, or a step that uses a later one.
    """
    value = evaluate(steps, scene)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    raise InputError(f"the program ends in {type(value).__name__}, expected a word or a truth value")


def evaluate(steps: Sequence[SemanticStep], scene: Scene) -> Any:
    """Execute a program; returns its result: the scene, a list of its objects, a truth value or a word."""
    if not steps:
        raise InputError("the program has no step, expected at least one")
    results: list[Any] = []
    for number, step in enumerate(steps):
        verb, _, detail = step.operation.partition(" ")
        operation = _OPERATIONS.get(verb)
        if operation is None or any(not 0 <= used < number for used in step.dependencies):
            raise InputError(f"step {number} of the program is {step}: unknown operation or dependency")
        argument = _without_ids(step.argument)
        results.append(operation(scene, detail, argument, *(results[used] for used in step.dependencies)))
    return results[-1]


@functools.lru_cache(maxsize=4096)
def _without_ids(argument: str) -> str:
    return _IDS.sub("", argument)


Objects = list[SceneObject]


def _named(scene: Scene, name: str) -> Objects:
    return [obj for obj in scene.objects if name in ANY_NAME or obj.shape == name]


def _select(scene: Scene, _: str, name: str) -> Scene | Objects:
    return scene if name == "scene" else _named(scene, name)


def _filter(_: Scene, name: str, value: str, objects: Objects) -> Objects:
    negated = _NOT.fullmatch(value)
    if negated:
        return [obj for obj in objects if obj.attribute(name) != negated[1]]
    return [obj for obj in objects if obj.attribute(name) == value]


def _relate(scene: Scene, _: str, argument: str, origins: Objects) -> Objects:
    name, relation, _side = argument.split(",")
    origin = require_single(origins)
    others = [obj for obj in _named(scene, name) if obj is not origin]
    if relation.startswith("same "):
        attribute = relation.removeprefix("same ")
        return [obj for obj in others if obj.attribute(attribute) == origin.attribute(attribute)]
    direction = _DIRECTION_OF[relation]
    return [obj for obj in others if programs.is_beside(scene, direction, obj, origin)]


def _property(scene: Scene, name: str, subject: Scene | Objects) -> str:
    if isinstance(subject, Scene):
        return programs.most_common(scene, name.removeprefix("main "))
    obj = require_single(subject)
    if name in ("hposition", "vposition"):
        return programs.half(scene, "horizontal" if name == "hposition" else "vertical", obj)
    return obj.attribute("shape" if name == "name" else name)


def _verify(scene: Scene, name: str, argument: str, subject: Any) -> bool:
    if name != "rel":
        return _property(scene, name, subject) == argument
    named, relation, _side = argument.split(",")
    obj = require_single(_named(scene, named))
    return programs.is_beside(scene, _DIRECTION_OF[relation], obj, require_single(subject))


def _choose(scene: Scene, name: str, argument: str, *subjects: Any) -> str:
    if name == "larger":
        first, second = (require_single(objects) for objects in subjects)
        larger = first if programs.larger(scene, None, first, second) else second
        if first.shape == second.shape:
            raise AmbiguousProgramError("two objects of one shape, the answer would name both")
        return larger.shape
    if name == "rel":
        named, relations, side = argument.split(",")
        first_relation, second_relation = relations.split("|")
        is_first = _verify(scene, name, f"{named},{first_relation},{side}", subjects[0])
        return _DIRECTION_OF[first_relation if is_first else second_relation]
    value = _property(scene, name, subjects[0])
    if value not in argument.split("|"):
        raise AmbiguousProgramError(f"{value} is not one of {argument}")
    return value


def _same(scene: Scene, name: str, argument: str, *subjects: Objects) -> bool:
    if name:
        first, second = (require_single(objects) for objects in subjects)
        return programs.same(scene, name, first, second)
    if len(subjects[0]) < 2:
        raise AmbiguousProgramError("all of fewer than two objects")
    return len({obj.attribute(argument) for obj in subjects[0]}) == 1


_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "select": _select,
    "filter": _filter,
    "relate": _relate,
    "query": lambda scene, _, name, subject: _property(scene, name, subject),
    "verify": _verify,
    "choose": _choose,
    "exist": lambda _, __, ___, objects: bool(objects),
    "and": lambda _, __, ___, first, second: first and second,
    "or": lambda _, __, ___, first, second: first or second,
    "same": _same,
    "different": lambda scene, name, argument, *subjects: not _same(scene, name, argument, *subjects),
}

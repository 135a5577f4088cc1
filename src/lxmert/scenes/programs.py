"""Programs: the meaning of a question as a few steps that can be executed on a scene.

Step k may use the results of earlier steps (`inputs`); the last step's result is the answer. A value is a
list of objects, one object, a number, a truth value or a word. The operations:

=============  ===================  ==========================================================
operation      inputs -> result     argument, meaning
=============  ===================  ==========================================================
select         -> objects           {attribute: value, ...}: those with all these values
reject         objects -> objects   {attribute: value, ...}: drops those with all these values
unite          objects ×2           in either
unique         objects -> object    the only one
count          objects -> number
exist          objects -> truth
not, and, or   truth (×2) -> truth
more, fewer,   number ×2 -> truth
equal
query          object -> word       attribute
same           object ×2 -> truth   attribute
larger,        object ×2 -> truth   compares the longer sides of the boxes
smaller
beside         objects, object ->   "left", "right", "above", "below": those of the objects
               objects              that lie there as seen from the one object
is_beside      object ×2 -> truth   the same relation of the first object to the second
half           object -> word       "horizontal": left or right; "vertical": top or bottom
nearest,       object -> object     distance of the centres, the object itself aside, if that
farthest                            of the outlines gives the same
outermost      objects -> object    "left", "right", "above", "below": the leftmost, ...
extreme        objects -> object    "largest" or "smallest" by the longer side of the box
most_common    -> word              attribute: its most frequent value in the scene
=============  ===================  ==========================================================

A question that a careful person could answer in two ways is not asked: if an operation would have to decide
a close case (margins below), or a reference fits no object or several, executing raises
`AmbiguousProgramError`.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lxmert.errors import InputError
from lxmert.scenes.world import Scene, SceneObject

RELATION_MARGIN: Final = 0.08
"""Minimum offset of two centres, as a fraction of the picture's side, for left, right, above, below."""
HALF_MARGIN: Final = 0.06
"""Minimum distance of a centre from the picture's middle line, as a fraction of the picture's side."""
SIZE_RATIO: Final = 1.2
"""Minimum ratio of two diameters for larger, smaller, largest and smallest."""
DISTANCE_RATIO: Final = 1.15
"""Minimum ratio of the two distances that decide nearest and farthest, in pixels."""
UNIT_DISTANCE_RATIO: Final = 1.05
"""The same with the picture scaled to a square, so that its proportions never decide."""
GAP_MARGIN_PX: Final = 2.0
"""Minimum difference, in the same order, of the distances between outlines."""
AXES: Final[dict[str, tuple[int, int]]] = {
    "left": (0, -1),
    "right": (0, 1),
    "above": (1, -1),
    "below": (1, 1),
}
"""Coordinate and sign of the four directions; y grows downwards."""

Argument = str | dict[str, str] | None


class AmbiguousProgramError(InputError):
    """The scene has no clear answer to the program; nothing is wrong with the program itself."""


@dataclass(frozen=True)
class Step:
    """One step of a program: an operation on the results of earlier steps."""

    operation: str
    inputs: tuple[int, ...] = ()
    argument: Argument = None

    def to_dict(self) -> dict[str, Any]:
        """The step as stored on disk."""
        return {"operation": self.operation, "inputs": list(self.inputs), "argument": self.argument}


Program = tuple[Step, ...]


def program_from_json(steps: Sequence[dict[str, Any]]) -> Program:
    """Parse a program from the key "program" of an annotation."""
    try:
        return tuple(Step(step["operation"], tuple(step["inputs"]), step["argument"]) for step in steps)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"malformed program {steps!r}: expected a list of {{operation, inputs, argument}}"
        ) from error


def execute(program: Sequence[Step], scene: Scene) -> str:
    """Execute a program; returns its answer as a word: "yes", "no", a number, or an attribute's value.

    Raises:
        AmbiguousProgramError: the scene leaves the answer open.
        InputError: an unknown operation, or a step that uses a later one.
    """
    if not program:
        raise InputError("the program has no step, expected at least one")
    results: list[Any] = []
    for number, step in enumerate(program):
        operation = _OPERATIONS.get(step.operation)
        if operation is None or any(not 0 <= used < number for used in step.inputs):
            raise InputError(f"step {number} of the program is {step}: unknown operation or input")
        results.append(operation(scene, step.argument, *(results[used] for used in step.inputs)))
    return _as_word(results[-1])


def _as_word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | str):
        return str(value)
    raise InputError(
        f"the program ends in {type(value).__name__}, expected a word, a number or a truth value"
    )


Objects = list[SceneObject]


def has_values(obj: SceneObject, values: dict[str, str]) -> bool:
    """Whether an object has all these values."""
    return all(obj.attribute(name) == value for name, value in values.items())


def _select(scene: Scene, values: dict[str, str]) -> Objects:
    return [obj for obj in scene.objects if has_values(obj, values)]


def _reject(_: Scene, values: dict[str, str], objects: Objects) -> Objects:
    return [obj for obj in objects if not has_values(obj, values)]


def _unite(scene: Scene, _: Argument, first: Objects, second: Objects) -> Objects:
    return [obj for obj in scene.objects if obj in first or obj in second]


def require_single(objects: Objects) -> SceneObject:
    """The one object of the list.

    Raises:
        AmbiguousProgramError: there are none or several.
    """
    if len(objects) != 1:
        raise AmbiguousProgramError(f"the reference fits {len(objects)} objects, expected exactly one")
    return objects[0]


def _require_distinct(first: SceneObject, second: SceneObject) -> None:
    if first is second:
        raise AmbiguousProgramError("an object is compared with itself")


def offset(scene: Scene, direction: str, obj: SceneObject, origin: SceneObject) -> float:
    """The offset of an object from the origin in a direction, as a fraction of the picture's side."""
    axis, sign = AXES[direction]
    side = scene.size_hw[1 - axis]
    return sign * (obj.center_px[axis] - origin.center_px[axis]) / side


def is_beside(scene: Scene, direction: str, obj: SceneObject, origin: SceneObject) -> bool:
    """Whether an object is left or right of, above or below the origin; ambiguous if almost level."""
    _require_distinct(obj, origin)
    distance = offset(scene, direction, obj, origin)
    if abs(distance) < RELATION_MARGIN:
        raise AmbiguousProgramError(f"two objects are almost level, {direction} is not clear")
    return distance > 0


def _beside(scene: Scene, direction: str, objects: Objects, origin: SceneObject) -> Objects:
    others = [obj for obj in objects if obj is not origin]
    return [obj for obj in others if is_beside(scene, direction, obj, origin)]


def same(_: Scene, name: str, first: SceneObject, second: SceneObject) -> bool:
    """Whether two objects share an attribute; ambiguous if they are the same object."""
    _require_distinct(first, second)
    return first.attribute(name) == second.attribute(name)


def half(scene: Scene, axis_name: str, obj: SceneObject) -> str:
    """The half of the picture, "left", "right", "top" or "bottom"; ambiguous near the middle."""
    axis = 0 if axis_name == "horizontal" else 1
    offset = obj.center_px[axis] / scene.size_hw[1 - axis] - 0.5
    if abs(offset) < HALF_MARGIN:
        raise AmbiguousProgramError("the object lies on the middle line")
    return (("left", "right"), ("top", "bottom"))[axis][offset > 0]


def larger(_: Scene, __: Argument, first: SceneObject, second: SceneObject) -> bool:
    """Whether the first object is the larger one; ambiguous if they are about the same size."""
    _require_distinct(first, second)
    small, large = sorted((first.diameter_px, second.diameter_px))
    if large < SIZE_RATIO * small:
        raise AmbiguousProgramError("two objects are about the same size")
    return first.diameter_px > second.diameter_px


def _by_distance(scene: Scene, origin: SceneObject, sign: int) -> SceneObject:
    """The nearest (sign 1) or farthest (sign -1) other object."""

    def pixels(obj: SceneObject) -> float:
        return math.dist(obj.center_px, origin.center_px)

    def unit(obj: SceneObject) -> float:
        return math.hypot(offset(scene, "right", obj, origin), offset(scene, "below", obj, origin))

    def gap(obj: SceneObject) -> float:
        """The distance of the outlines, as if both objects were circles."""
        return pixels(obj) - (obj.diameter_px + origin.diameter_px) / 2

    others = sorted((obj for obj in scene.objects if obj is not origin), key=lambda o: sign * pixels(o))
    if len(others) < 2:
        raise AmbiguousProgramError("nearest and farthest need at least two candidates")
    best = others[0]
    for other in others[1:]:
        near, far = (best, other) if sign > 0 else (other, best)
        is_close = pixels(far) < DISTANCE_RATIO * pixels(near) or gap(far) < gap(near) + GAP_MARGIN_PX
        if is_close or unit(far) < UNIT_DISTANCE_RATIO * unit(near):
            raise AmbiguousProgramError("two objects are about equally far")
    return best


def _outermost(scene: Scene, direction: str, objects: Objects) -> SceneObject:
    if len(objects) < 2:
        raise AmbiguousProgramError(f"a superlative over {len(objects)} objects, expected at least two")
    axis, sign = AXES[direction]
    first, second = sorted(objects, key=lambda obj: -sign * obj.center_px[axis])[:2]
    is_beside(scene, direction, first, second)  # raises if it is not clear
    return first


def _extreme(scene: Scene, which: str, objects: Objects) -> SceneObject:
    if len(objects) < 2:
        raise AmbiguousProgramError(f"a superlative over {len(objects)} objects, expected at least two")
    sign = -1 if which == "largest" else 1
    first, second = sorted(objects, key=lambda obj: sign * obj.diameter_px)[:2]
    larger(scene, None, first, second)  # raises if it is not clear
    return first


def most_common(scene: Scene, name: str) -> str:
    """The most frequent value of an attribute in the scene; ambiguous if there is a tie."""
    ranked = Counter(obj.attribute(name) for obj in scene.objects).most_common(2)
    if len(ranked) < 2 or ranked[0][1] == ranked[1][1]:
        raise AmbiguousProgramError(f"no {name} is the most common one of several")
    return ranked[0][0]


_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "select": _select,
    "reject": _reject,
    "unite": _unite,
    "unique": lambda _, __, objects: require_single(objects),
    "count": lambda _, __, objects: len(objects),
    "exist": lambda _, __, objects: bool(objects),
    "not": lambda _, __, truth: not truth,
    "and": lambda _, __, first, second: first and second,
    "or": lambda _, __, first, second: first or second,
    "more": lambda _, __, first, second: first > second,
    "fewer": lambda _, __, first, second: first < second,
    "equal": lambda _, __, first, second: first == second,
    "query": lambda _, name, obj: obj.attribute(name),
    "same": same,
    "larger": larger,
    "smaller": lambda scene, _, first, second: not larger(scene, None, first, second),
    "beside": _beside,
    "is_beside": is_beside,
    "half": half,
    "nearest": lambda scene, _, origin: _by_distance(scene, origin, 1),
    "farthest": lambda scene, _, origin: _by_distance(scene, origin, -1),
    "outermost": _outermost,
    "extreme": _extreme,
    "most_common": most_common,
}
OPERATIONS: Final = tuple(_OPERATIONS)

"""What follows from the answer of a question: facts, and a small logic of the made world.

`KnowledgeBase` answers only what certainly follows in every scene in which the known facts hold, and for
which a question about it has a clear answer there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from lxmert.scenes.gqa.references import PROPERTY_VALUES, SCENE, ObjectReference
from lxmert.scenes.lexicon import ATTRIBUTES
from lxmert.scenes.object_descriptions import to_description

Values = frozenset[tuple[str, str]]
"""Attributes and values, which an object fits that has all of them."""
OPPOSITE: Final = {"left": "right", "right": "left", "above": "below", "below": "above"}


class RelativeLocation(NamedTuple):
    """A direction, "left" and so on, and the object from which it is seen."""

    relation: str
    origin: ObjectReference


class Fact:
    """Something true of a scene; subclasses are frozen dataclasses, equal where they say the same."""


@dataclass(frozen=True)
class Unique(Fact):
    """The reference denotes exactly one object."""

    reference: ObjectReference


@dataclass(frozen=True)
class HasValue(Fact):
    """The object has this value of a property."""

    reference: ObjectReference
    name: str
    value: str


@dataclass(frozen=True)
class LacksValue(Fact):
    """The object has another value of a property."""

    reference: ObjectReference
    name: str
    value: str


@dataclass(frozen=True)
class Exists(Fact):
    """An object fits."""

    values: Values


@dataclass(frozen=True)
class NotExists(Fact):
    """No object fits."""

    values: Values


@dataclass(frozen=True)
class ExistsWithOtherValue(Fact):
    """An object that fits has another value of a property."""

    values: Values
    name: str
    value: str


@dataclass(frozen=True)
class AllHaveValue(Fact):
    """No object that fits has another value of a property."""

    values: Values
    name: str
    value: str


@dataclass(frozen=True)
class Related(Fact):
    """The only object that fits the first lies there as seen from the only one that fits the second."""

    first: Values
    relation: str
    second: Values


@dataclass(frozen=True)
class ExistsAt(Fact):
    """An object that fits is at the place."""

    values: Values
    location: RelativeLocation


@dataclass(frozen=True)
class NotExistsAt(Fact):
    """No object that fits is at the place."""

    values: Values
    location: RelativeLocation


@dataclass(frozen=True)
class SameValue(Fact):
    """Two objects have the same value of a property, or they have not."""

    references: frozenset[ObjectReference]
    name: str
    is_same: bool


@dataclass(frozen=True)
class AllSameValue(Fact):
    """All objects that fit have the same value of a property, or they have not."""

    values: Values
    name: str
    is_same: bool


@dataclass(frozen=True)
class Larger(Fact):
    """One object is larger than another."""

    reference: ObjectReference
    other: ObjectReference


@dataclass(frozen=True)
class AnyOf(Fact):
    """At least one of the facts is true."""

    facts: frozenset[Fact]


class KnowledgeBase:
    """Some facts and what follows from them.

    Args:
        facts: What is known.
    """

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts: set[Fact] = set()
        self._existing: list[Values] = []
        """Something fits each of them."""
        self._absent: list[Values] = []
        """Nothing fits any of them."""
        self._uniform: list[AllHaveValue] = []
        self._existing_at: list[tuple[Values, Values, RelativeLocation]] = []
        """Least and most description of what is at a place."""
        self._absent_at: list[NotExistsAt] = []
        for fact in facts:
            self._add(fact)

    def entails(self, fact: Fact) -> bool:
        """Whether the fact certainly follows."""
        if fact in self._facts:
            return True
        match fact:
            case Exists(values):
                return any(values <= base for base in self._existing)
            case NotExists(values):
                return any(base <= values for base in self._absent)
            case ExistsWithOtherValue(values, name, value):
                return any(
                    values <= base and any(pair[0] == name and pair[1] != value for pair in base)
                    for base in self._existing
                )
            case AllHaveValue(values, name, value):
                return any(
                    known.values <= values and (known.name, known.value) == (name, value)
                    for known in self._uniform
                )
            case ExistsAt(values, location):
                return any(
                    narrowest <= values <= widest and at_location == location
                    for narrowest, widest, at_location in self._existing_at
                )
            case NotExistsAt(values, location):
                return any(known.values <= values and known.location == location for known in self._absent_at)
            case AnyOf(facts):
                return any(map(self.entails, facts))
        return False

    def _add(self, fact: Fact) -> None:
        if fact in self._facts:
            return
        self._facts.add(fact)
        match fact:
            case Unique(reference):
                self._add_reference(reference)
            case HasValue(reference, name, value):
                self._add_value(reference, name, value)
            case LacksValue(reference, name, value):
                self._add_excluded_value(reference, name, value)
            case Exists(values) | ExistsWithOtherValue(values):
                self._existing.append(values)
            case NotExists(values):
                self._absent.append(values)
            case AllHaveValue(values, name, value):
                self._uniform.append(fact)
                self._absent.extend(values | {(name, other)} for other in _other_values(name, value))
            case Related(first, relation, second):
                self._add_relation(first, relation, second)
            case ExistsAt(values, location):
                self._existing_at.append((values, values, location))
            case NotExistsAt():
                self._absent_at.append(fact)

    def _add_reference(self, reference: ObjectReference) -> None:
        if reference == SCENE:
            return
        self._existing.append(reference.values)
        if reference.relation is not None:
            self._add(Unique(ObjectReference(reference.origin)))
        if (location := _location_of(reference)) is not None:
            self._existing_at.append((reference.values, reference.values, location))

    def _add_value(self, reference: ObjectReference, name: str, value: str) -> None:
        self._facts.update(LacksValue(reference, name, other) for other in _other_values(name, value))
        if reference == SCENE:
            self._existing.append(frozenset({(name.removeprefix("main "), value)}))
            return
        if name not in ATTRIBUTES:
            return
        base = reference.values
        self._existing.append(base | {(name, value)})
        if reference.relation is None:
            self._add(AllHaveValue(base, name, value))
        elif (location := _location_of(reference)) is not None:
            self._existing_at.append((base, base | {(name, value)}, location))
            self._absent_at.extend(
                NotExistsAt(base | {(name, other)}, location) for other in _other_values(name, value)
            )

    def _add_excluded_value(self, reference: ObjectReference, name: str, value: str) -> None:
        others = _other_values(name, value)
        if len(others) == 1:
            self._add(HasValue(reference, name, others[0]))
        if reference == SCENE or name not in ATTRIBUTES:
            return
        base = reference.values
        if reference.relation is None:
            self._absent.append(base | {(name, value)})
            self._facts.add(ExistsWithOtherValue(base, name, value))
        elif (location := _location_of(reference)) is not None:
            self._absent_at.append(NotExistsAt(base | {(name, value)}, location))

    def _add_relation(self, first: Values, relation: str, second: Values) -> None:
        self._facts.add(Related(second, OPPOSITE[relation], first))
        for near, there, far in ((first, relation, second), (second, OPPOSITE[relation], first)):
            origin = ObjectReference(to_description(dict(far)))
            self._existing_at.append((near, near, RelativeLocation(there, origin)))
            self._absent_at.append(NotExistsAt(near, RelativeLocation(OPPOSITE[there], origin)))


def _other_values(name: str, value: str) -> list[str]:
    """The other values of a property."""
    return [other for other in PROPERTY_VALUES[name] if other != value]


def _location_of(reference: ObjectReference) -> RelativeLocation | None:
    """Where an object is, if its reference names a location."""
    return (
        RelativeLocation(reference.relation, ObjectReference(reference.origin))
        if reference.relation in OPPOSITE
        else None
    )

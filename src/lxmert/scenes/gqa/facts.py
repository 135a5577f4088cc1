"""What follows from the answer of a question: facts, and a small logic of the made world.

`Knowledge` answers only what certainly follows in every scene in which the known facts hold, and for which a
question about it has a clear answer there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from lxmert.scenes.describing import in_order
from lxmert.scenes.gqa.things import PROPERTY_VALUES, SCENE, Thing
from lxmert.scenes.lexicon import ATTRIBUTES

Values = frozenset[tuple[str, str]]
"""Attributes and values, which an object fits that has all of them."""
OPPOSITE: Final = {"left": "right", "right": "left", "above": "below", "below": "above"}


class Place(NamedTuple):
    """A direction, "left" and so on, and the thing from which it is seen."""

    relation: str
    origin: Thing


class Fact:
    """Something true of a scene; subclasses are frozen dataclasses, equal where they say the same."""


@dataclass(frozen=True)
class Unique(Fact):
    """Exactly one object is the thing."""

    thing: Thing


@dataclass(frozen=True)
class Is(Fact):
    """The thing has this value of a property."""

    thing: Thing
    name: str
    value: str


@dataclass(frozen=True)
class IsNot(Fact):
    """The thing has another value of a property."""

    thing: Thing
    name: str
    value: str


@dataclass(frozen=True)
class Some(Fact):
    """An object fits."""

    values: Values


@dataclass(frozen=True)
class Nothing(Fact):
    """No object fits."""

    values: Values


@dataclass(frozen=True)
class Other(Fact):
    """An object that fits has another value of a property."""

    values: Values
    name: str
    value: str


@dataclass(frozen=True)
class NoOther(Fact):
    """No object that fits has another value of a property."""

    values: Values
    name: str
    value: str


@dataclass(frozen=True)
class Beside(Fact):
    """The only object that fits the first lies there as seen from the only one that fits the second."""

    first: Values
    relation: str
    second: Values


@dataclass(frozen=True)
class SomeAt(Fact):
    """An object that fits is at the place."""

    values: Values
    place: Place


@dataclass(frozen=True)
class NothingAt(Fact):
    """No object that fits is at the place."""

    values: Values
    place: Place


@dataclass(frozen=True)
class Alike(Fact):
    """Two things have the same value of a property, or they have not."""

    things: frozenset[Thing]
    name: str
    so: bool


@dataclass(frozen=True)
class AllAlike(Fact):
    """All objects that fit have the same value of a property, or they have not."""

    values: Values
    name: str
    so: bool


@dataclass(frozen=True)
class Larger(Fact):
    """One thing is larger than another."""

    thing: Thing
    other: Thing


class Knowledge:
    """Some facts and what follows from them.

    Args:
        facts: What is known.
    """

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts: set[Fact] = set()
        self._some: list[Values] = []
        """Something fits each of them."""
        self._nothing: list[Values] = []
        """Nothing fits any of them."""
        self._no_other: list[NoOther] = []
        self._some_at: list[tuple[Values, Values, Place]] = []
        """Least and most description of what is at a place."""
        self._nothing_at: list[NothingAt] = []
        for fact in facts:
            self._learn(fact)

    def knows(self, fact: Fact) -> bool:
        """Whether the fact certainly follows."""
        if fact in self._facts:
            return True
        match fact:
            case Some(values):
                return any(values <= base for base in self._some)
            case Nothing(values):
                return any(base <= values for base in self._nothing)
            case Other(values, name, value):
                return any(
                    values <= base and any(pair[0] == name and pair[1] != value for pair in base)
                    for base in self._some
                )
            case NoOther(values, name, value):
                return any(
                    known.values <= values and (known.name, known.value) == (name, value)
                    for known in self._no_other
                )
            case SomeAt(values, place):
                return any(least <= values <= most and at == place for least, most, at in self._some_at)
            case NothingAt(values, place):
                return any(known.values <= values and known.place == place for known in self._nothing_at)
        return False

    def _learn(self, fact: Fact) -> None:
        if fact in self._facts:
            return
        self._facts.add(fact)
        match fact:
            case Unique(thing):
                self._learn_thing(thing)
            case Is(thing, name, value):
                self._learn_value(thing, name, value)
            case IsNot(thing, name, value):
                self._learn_other_value(thing, name, value)
            case Some(values) | Other(values):
                self._some.append(values)
            case Nothing(values):
                self._nothing.append(values)
            case NoOther(values, name, value):
                self._no_other.append(fact)
                self._nothing.extend(values | {(name, other)} for other in _others(name, value))
            case Beside(first, relation, second):
                self._learn_side(first, relation, second)
            case SomeAt(values, place):
                self._some_at.append((values, values, place))
            case NothingAt():
                self._nothing_at.append(fact)

    def _learn_thing(self, thing: Thing) -> None:
        if thing == SCENE:
            return
        self._some.append(thing.values)
        if thing.relation is not None:
            self._some.append(frozenset(thing.origin))
            self._learn(Unique(Thing(thing.origin)))
        if (place := _place_of(thing)) is not None:
            self._some_at.append((thing.values, thing.values, place))

    def _learn_value(self, thing: Thing, name: str, value: str) -> None:
        self._facts.update(IsNot(thing, name, other) for other in _others(name, value))
        if thing == SCENE:
            self._some.append(frozenset({(name.removeprefix("main "), value)}))
            return
        if name not in ATTRIBUTES:
            return
        base = thing.values
        self._some.append(base | {(name, value)})
        if thing.relation is None:
            self._learn(NoOther(base, name, value))
        elif (place := _place_of(thing)) is not None:
            self._some_at.append((base, base | {(name, value)}, place))
            self._nothing_at.extend(
                NothingAt(base | {(name, other)}, place) for other in _others(name, value)
            )

    def _learn_other_value(self, thing: Thing, name: str, value: str) -> None:
        others = _others(name, value)
        if len(others) == 1:
            self._learn(Is(thing, name, others[0]))
        if thing == SCENE or name not in ATTRIBUTES:
            return
        base = thing.values
        if thing.relation is None:
            self._nothing.append(base | {(name, value)})
            self._facts.add(Other(base, name, value))
        elif (place := _place_of(thing)) is not None:
            self._nothing_at.append(NothingAt(base | {(name, value)}, place))

    def _learn_side(self, first: Values, relation: str, second: Values) -> None:
        self._facts.add(Beside(second, OPPOSITE[relation], first))
        for near, there, far in ((first, relation, second), (second, OPPOSITE[relation], first)):
            origin = Thing(in_order(dict(far)))
            self._some_at.append((near, near, Place(there, origin)))
            self._nothing_at.append(NothingAt(near, Place(OPPOSITE[there], origin)))


def _others(name: str, value: str) -> list[str]:
    """The other values of a property."""
    return [other for other in PROPERTY_VALUES[name] if other != value]


def _place_of(thing: Thing) -> Place | None:
    """Where a thing is, if its description names a place."""
    return Place(thing.relation, Thing(thing.origin)) if thing.relation in OPPOSITE else None

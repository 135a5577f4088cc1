"""What follows from the answer of a question: facts, and a small logic of the made world.

A fact is a tuple whose first entry is its kind. D is a set of (attribute, value) pairs, T a `Thing`, P a
property, V a value, R one of left, right, above, below:

("unique", T)           exactly one object is T
("is", T, P, V)         T has this value
("not", T, P, V)        T has another value
("some", D)             an object fits D
("none", D)             no object fits D
("other", D, P, V)      an object that fits D has another value than V
("all", D, P, V)        no object that fits D has another value than V
("beside", D, R, D2)    the only object that fits D lies R as seen from the only one that fits D2
("some at", D, R, T)    an object that fits D lies R as seen from T
("none at", D, R, T)    no object that fits D lies R as seen from T
("same", {T, T2}, P)    the two things have the same value
("differ", {T, T2}, P)  they have not
("all same", D, P)      all objects that fit D have the same value
("all not same", D, P)  they have not
("larger", T, T2)       T is larger than T2

`Knowledge` answers only what certainly follows in every scene in which the known facts hold, and for which a
question about it has a clear answer there.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from lxmert.scenes.describing import in_order
from lxmert.scenes.gqa.things import PROPERTY_VALUES, SCENE, Thing
from lxmert.scenes.lexicon import ATTRIBUTES

Fact = tuple[Any, ...]
Values = frozenset[tuple[str, str]]
Place = tuple[str, Thing]
"""A direction and the thing from which it is seen."""
OPPOSITE: Final = {"left": "right", "right": "left", "above": "below", "below": "above"}


class Knowledge:
    """Some facts and what follows from them.

    Args:
        facts: What is known.
    """

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts: set[Fact] = set()
        self._some: list[Values] = []
        self._none: list[Values] = []
        self._all: list[tuple[Values, tuple[str, str]]] = []
        self._some_at: list[tuple[Values, Values, Place]] = []
        """Least and most description of what is at a place."""
        self._none_at: list[tuple[Values, Place]] = []
        for fact in facts:
            self._learn(fact)

    def _learn(self, fact: Fact) -> None:
        if fact in self._facts:
            return
        self._facts.add(fact)
        learners: dict[str, Callable[..., None]] = {
            "unique": self._learn_thing,
            "is": self._learn_value,
            "not": self._learn_other_value,
            "beside": self._learn_side,
            "some": self._some.append,
            "none": self._none.append,
            "all": self._learn_all,
            "other": lambda base, name, value: self._some.append(base),
            "some at": lambda base, *place: self._some_at.append((base, base, place)),
            "none at": lambda base, *place: self._none_at.append((base, place)),
        }
        if fact[0] in learners:
            learners[fact[0]](*fact[1:])

    def _learn_thing(self, thing: Thing) -> None:
        if thing == SCENE:
            return
        self._some.append(thing.values)
        if thing.relation is not None:
            self._some.append(frozenset(thing.origin))
            self._learn(("unique", Thing(thing.origin)))
        if thing.relation in OPPOSITE:
            self._some_at.append((thing.values, thing.values, (thing.relation, Thing(thing.origin))))

    def _learn_value(self, thing: Thing, name: str, value: str) -> None:
        for other in PROPERTY_VALUES[name]:
            if other != value:
                self._facts.add(("not", thing, name, other))
        if thing == SCENE:
            self._some.append(frozenset({(name.removeprefix("main "), value)}))
            return
        if name not in ATTRIBUTES:
            return
        base = thing.values
        self._some.append(base | {(name, value)})
        if thing.relation is None:
            self._learn(("all", base, name, value))
        elif thing.relation in OPPOSITE:
            place = (thing.relation, Thing(thing.origin))
            self._some_at.append((base, base | {(name, value)}, place))
            self._none_at.extend(
                (base | {(name, other)}, place) for other in PROPERTY_VALUES[name] if other != value
            )

    def _learn_other_value(self, thing: Thing, name: str, value: str) -> None:
        others = [other for other in PROPERTY_VALUES[name] if other != value]
        if len(others) == 1:
            self._learn(("is", thing, name, others[0]))
        if thing == SCENE or name not in ATTRIBUTES:
            return
        base = thing.values
        if thing.relation is None:
            self._none.append(base | {(name, value)})
            self._facts.add(("other", base, name, value))
        elif thing.relation in OPPOSITE:
            self._none_at.append((base | {(name, value)}, (thing.relation, Thing(thing.origin))))

    def _learn_all(self, base: Values, name: str, value: str) -> None:
        self._all.append((base, (name, value)))
        self._none.extend(base | {(name, other)} for other in PROPERTY_VALUES[name] if other != value)

    def _learn_side(self, first: Values, relation: str, second: Values) -> None:
        self._facts.add(("beside", second, OPPOSITE[relation], first))
        for near, there, far in ((first, relation, second), (second, OPPOSITE[relation], first)):
            origin = Thing(in_order(dict(far)))
            self._some_at.append((near, near, (there, origin)))
            self._none_at.append((near, (OPPOSITE[there], origin)))

    def knows(self, fact: Fact) -> bool:
        """Whether the fact certainly follows."""
        if fact in self._facts:
            return True
        kind, wanted = fact[:2]
        if kind == "some":
            return any(wanted <= base for base in self._some)
        if kind == "none":
            return any(base <= wanted for base in self._none)
        if kind == "other":
            return any(
                wanted <= base and any(pair[0] == fact[2] and pair[1] != fact[3] for pair in base)
                for base in self._some
            )
        if kind == "all":
            return any(base <= wanted and value == fact[2:] for base, value in self._all)
        if kind == "some at":
            return any(least <= wanted <= most and place == fact[2:] for least, most, place in self._some_at)
        if kind == "none at":
            return any(base <= wanted and place == fact[2:] for base, place in self._none_at)
        return False

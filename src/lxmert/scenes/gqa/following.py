"""What follows from the answer of a question: whether another answer does, and questions whose answers do."""

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from lxmert.scenes.describing import Description, in_order
from lxmert.scenes.gqa.existence import Exist, ExistBeside, ExistNot, ExistThat
from lxmert.scenes.gqa.facts import OPPOSITE, Fact, Is, IsNot, Knowledge, Nothing, Some, Unique, Values
from lxmert.scenes.gqa.meaning import Meaning
from lxmert.scenes.gqa.properties import Choose, Query, Verify
from lxmert.scenes.gqa.relations import Beside, ChooseSide, Same
from lxmert.scenes.gqa.things import PROPERTY_VALUES, SAME, SCENE, Thing, other_value
from lxmert.scenes.lexicon import ATTRIBUTES

_APART_SHARE: Final = 0.3


def known_from(meaning: Meaning, answer: str) -> Knowledge:
    """What a question and its answer tell."""
    return Knowledge([*map(Unique, meaning.things), *meaning.tells(answer)])


def follows(meaning: Meaning, answer: str, known: Knowledge) -> bool:
    """Whether a question has this answer in every scene of which so much is known."""
    if not all(known.knows(Unique(thing)) for thing in meaning.things):
        return False
    return any(all(map(known.knows, facts)) for facts in meaning.needs(answer))


def following(meaning: Meaning, answer: str, rng: random.Random) -> list[Meaning]:
    """Some questions whose answers follow, in random order; the same question, for other words, is one."""
    found = [meaning]
    for fact in meaning.tells(answer):
        found += _from_fact(fact, rng)
    if isinstance(meaning, Same):
        found.append(Same(meaning.second, meaning.first, meaning.name, not meaning.different))
    if isinstance(meaning, Beside | ChooseSide):
        found += _from_side(meaning, answer, rng)
    found += (_partly(thing, rng) for thing in meaning.things if thing.description and thing != SCENE)
    rng.shuffle(found)
    return found


def _from_fact(fact: Fact, rng: random.Random) -> Iterable[Meaning]:
    match fact:
        case Is(thing, name, value):
            return _from_value(thing, name, value, rng)
        case IsNot(thing, name, value):
            return _from_other_value(thing, name, value, rng)
        case Some(values):
            return _from_presence(_ordered(values), rng)
        case Nothing(values):
            return _from_absence(_ordered(values), rng)
    return ()


def _from_value(thing: Thing, name: str, value: str, rng: random.Random) -> Iterator[Meaning]:
    other = other_value(rng, name, value)
    if name != "main shape":
        yield Verify(thing, name, value)
        yield Verify(thing, name, other)
        yield Choose(thing, name, *rng.sample((value, other), 2))
    if name != "vposition" and not (thing.relation or "").startswith(SAME):
        yield Query(thing, name)
    if name not in ATTRIBUTES:
        return
    values = dict(thing.description)
    yield _there(in_order({**values, name: value}), rng)
    if thing.relation is None:
        yield _there(in_order({**values, name: other}), rng)
        yield ExistNot(thing.description, name, value)
    elif thing.relation in OPPOSITE:
        yield ExistBeside(in_order({**values, name: value}), thing.relation, thing.origin)


def _from_other_value(thing: Thing, name: str, value: str, rng: random.Random) -> Iterator[Meaning]:
    if thing.relation is None and name in ATTRIBUTES:
        yield ExistNot(thing.description, name, value)
        yield _there(in_order({**dict(thing.description), name: value}), rng)


def _from_presence(values: Mapping[str, str], rng: random.Random) -> Iterator[Meaning]:
    if len(values) > 1:
        name = rng.choice(list(values))
        rest = in_order({left: values[left] for left in values if left != name})
        yield _there(rest, rng)
        if name != "shape":
            yield ExistNot(rest, name, other_value(rng, name, values[name]))


def _from_absence(values: Mapping[str, str], rng: random.Random) -> Iterator[Meaning]:
    name = rng.choice([name for name in ATTRIBUTES if name not in values])
    yield _there(in_order({**values, name: rng.choice(PROPERTY_VALUES[name])}), rng)


def _from_side(meaning: Beside | ChooseSide, answer: str, rng: random.Random) -> Iterator[Meaning]:
    relation = meaning.side(answer)
    first, second = meaning.first, meaning.second
    yield Beside(first, relation, second)
    yield Beside(first, OPPOSITE[relation], second)
    if [name for name, _ in second.description] == ["shape"]:
        yield Beside(second, OPPOSITE[relation], first)
    if relation in ("left", "right"):
        yield ChooseSide(first, second, rng.choice((("left", "right"), ("right", "left"))))
    yield ExistBeside(first.description, relation, second.description)


def _partly(thing: Thing, rng: random.Random) -> Meaning:
    """Whether there is something with some of a thing's attributes."""
    names = rng.sample(thing.description, rng.randint(1, len(thing.description)))
    return _there(in_order(dict(names)), rng)


def _there(description: Description, rng: random.Random) -> Meaning:
    """'Is there a red star?' or 'Is there a star that is red?'"""
    apart = len(description) > 1 and "shape" in dict(description) and rng.random() < _APART_SHARE
    return (ExistThat if apart else Exist)(description)


def _ordered(values: Values) -> dict[str, str]:
    """The values of a fact, whose own order is another one in every process."""
    return dict(in_order(dict(values)))

"""What follows from the answer of a question: whether another answer does, and questions whose answers do."""

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from lxmert.scenes.gqa.existence import Exist, ExistNot, ExistRelated, ExistThat
from lxmert.scenes.gqa.facts import (
    OPPOSITE,
    Exists,
    Fact,
    HasValue,
    KnowledgeBase,
    LacksValue,
    NotExists,
    Unique,
    Values,
)
from lxmert.scenes.gqa.meaning import Meaning
from lxmert.scenes.gqa.properties import Choose, Query, Verify
from lxmert.scenes.gqa.references import PROPERTY_VALUES, SAME, SCENE, ObjectReference, other_value
from lxmert.scenes.gqa.relations import ChooseRelation, Same, VerifyRelation
from lxmert.scenes.lexicon import ATTRIBUTES
from lxmert.scenes.object_descriptions import Description, to_description

_THAT_CLAUSE_SHARE: Final = 0.3


def knowledge_from(meaning: Meaning, answer: str) -> KnowledgeBase:
    """What a question and its answer tell."""
    return KnowledgeBase([*map(Unique, meaning.references), *meaning.implied_facts(answer)])


def is_entailed(meaning: Meaning, answer: str, known: KnowledgeBase) -> bool:
    """Whether a question has this answer in every scene of which so much is known."""
    if not all(known.entails(Unique(reference)) for reference in meaning.references):
        return False
    return all(map(known.entails, meaning.sufficient_facts(answer)))


def entailed_meanings(meaning: Meaning, answer: str, rng: random.Random) -> list[Meaning]:
    """Some questions whose answers follow, in random order; the same question, for other words, is one."""
    found = [meaning]
    for fact in meaning.implied_facts(answer):
        found += _from_fact(fact, rng)
    if isinstance(meaning, Same):
        found.append(Same(meaning.second, meaning.first, meaning.name, not meaning.different))
    if isinstance(meaning, VerifyRelation | ChooseRelation):
        found += _from_relation(meaning, answer, rng)
    found += (
        _partial_existence_question(reference, rng)
        for reference in meaning.references
        if reference.description and reference != SCENE
    )
    rng.shuffle(found)
    return found


def _from_fact(fact: Fact, rng: random.Random) -> Iterable[Meaning]:
    match fact:
        case HasValue(reference, name, value):
            return _from_value(reference, name, value, rng)
        case LacksValue(reference, name, value):
            return _from_excluded_value(reference, name, value, rng)
        case Exists(values):
            return _from_existence(_ordered(values), rng)
        case NotExists(values):
            return _from_absence(_ordered(values), rng)
    return ()


def _from_value(reference: ObjectReference, name: str, value: str, rng: random.Random) -> Iterator[Meaning]:
    other = other_value(rng, name, value)
    if name != "main shape":
        yield Verify(reference, name, value)
        yield Verify(reference, name, other)
        yield Choose(reference, name, *rng.sample((value, other), 2))
    if name != "vposition" and not (reference.relation or "").startswith(SAME):
        yield Query(reference, name)
    if name not in ATTRIBUTES:
        return
    values = dict(reference.description)
    yield _existence_question(to_description({**values, name: value}), rng)
    if reference.relation is None:
        yield _existence_question(to_description({**values, name: other}), rng)
        yield ExistNot(reference.description, name, value)
    elif reference.relation in OPPOSITE:
        yield ExistRelated(to_description({**values, name: value}), reference.relation, reference.origin)


def _from_excluded_value(
    reference: ObjectReference, name: str, value: str, rng: random.Random
) -> Iterator[Meaning]:
    if reference.relation is None and name in ATTRIBUTES:
        yield ExistNot(reference.description, name, value)
        yield _existence_question(to_description({**dict(reference.description), name: value}), rng)


def _from_existence(values: Mapping[str, str], rng: random.Random) -> Iterator[Meaning]:
    if len(values) > 1:
        name = rng.choice(list(values))
        rest = to_description({left: values[left] for left in values if left != name})
        yield _existence_question(rest, rng)
        if name != "shape":
            yield ExistNot(rest, name, other_value(rng, name, values[name]))


def _from_absence(values: Mapping[str, str], rng: random.Random) -> Iterator[Meaning]:
    name = rng.choice([name for name in ATTRIBUTES if name not in values])
    yield _existence_question(to_description({**values, name: rng.choice(PROPERTY_VALUES[name])}), rng)


def _from_relation(
    meaning: VerifyRelation | ChooseRelation, answer: str, rng: random.Random
) -> Iterator[Meaning]:
    relation = meaning.relation_for(answer)
    first, second = meaning.first, meaning.second
    yield VerifyRelation(first, relation, second)
    yield VerifyRelation(first, OPPOSITE[relation], second)
    if [name for name, _ in second.description] == ["shape"]:
        yield VerifyRelation(second, OPPOSITE[relation], first)
    if relation in ("left", "right"):
        yield ChooseRelation(first, second, rng.choice((("left", "right"), ("right", "left"))))
    yield ExistRelated(first.description, relation, second.description)


def _partial_existence_question(reference: ObjectReference, rng: random.Random) -> Meaning:
    """Whether there is something with some of an object's attributes."""
    names = rng.sample(reference.description, rng.randint(1, len(reference.description)))
    return _existence_question(to_description(dict(names)), rng)


def _existence_question(description: Description, rng: random.Random) -> Meaning:
    """'Is there a red star?' or 'Is there a star that is red?'"""
    has_that_clause = (
        len(description) > 1 and "shape" in dict(description) and rng.random() < _THAT_CLAUSE_SHARE
    )
    return (ExistThat if has_that_clause else Exist)(description)


def _ordered(values: Values) -> dict[str, str]:
    """The values of a fact, whose own order is another one in every process."""
    return dict(to_description(dict(values)))

"""NLVR2-style sentences about two pictures that require both.

The truth of a sentence depends on one value of each picture: a number of objects, whether there is one, a
colour. `Statement.value` returns a picture's value, or None if the sentence does not apply to it;
`Statement.holds` decides from the left and the right value.
"""

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lxmert.scenes.describing import Description, View, in_order, phrase
from lxmert.scenes.lexicon import ATTRIBUTES, NUMBER_WORDS, with_article
from lxmert.scenes.pairs.templates import TEMPLATES
from lxmert.scenes.programs import AmbiguousProgramError, has, most_common
from lxmert.scenes.questions.family import predicate
from lxmert.scenes.randomness import weighted
from lxmert.scenes.world import Scene

LEFT: Final = 0
RIGHT: Final = 1
Value = Any


@dataclass(frozen=True)
class Statement:
    """A sentence about two pictures.

    Attributes:
        text: The sentence.
        kind: Key of `templates.TEMPLATES`.
        value: The value of a picture on the side `LEFT` or `RIGHT`; None if there is none.
        holds: Whether the sentence is true of the left and the right value.
    """

    text: str
    kind: str
    value: Callable[[View, int], Value]
    holds: Callable[[Value, Value], bool]


Make = Callable[[View, View, random.Random], Statement | None]


def draw_kind(rng: random.Random) -> str:
    """A random kind of sentences."""
    return weighted(rng, {kind: weight for kind, (weight, _) in _MAKERS.items()})


def draw_statement(kind: str, first: View, second: View, rng: random.Random) -> Statement | None:
    """A random sentence about things in two pictures; None on failure."""
    return _MAKERS[kind][1](kind, first, second, rng)


def _worded(kind: str, rng: random.Random, description: Description, **fillers: str) -> str:
    template = rng.choice(TEMPLATES[kind])
    one = phrase(description, rng)
    words = {"a": with_article(one), "one": one, "many": phrase(description, rng, plural=True)}
    text = template.format(**words, **fillers)
    return text[0].upper() + text[1:]


_DESCRIPTIONS: Final = (
    (),
    ("color",),
    ("color",),
    ("shape",),
    ("shape",),
    ("fill",),
    ("size",),
    ("size", "shape"),
    ("fill", "shape"),
)
_RARER: Final = (("color",), ("shape",), ("fill",), ("color", "shape"), ("size", "color"), ("fill", "shape"))


def _counted(description: Description, text: str, kind: str, holds: Callable[[int, int], bool]) -> Statement:
    return Statement(text, kind, lambda view, _: view.count(description), holds)


def _same_number(kind: str, first: View, _: View, rng: random.Random) -> Statement:
    description = first.present(rng, rng.choice(_DESCRIPTIONS))
    return _counted(description, _worded(kind, rng, description), kind, lambda left, right: left == right)


def _total(kind: str, first: View, second: View, rng: random.Random) -> Statement | None:
    description = first.present(rng, rng.choice(_DESCRIPTIONS))
    number = first.count(description) + second.count(description)
    least, compare = (2, operator.eq) if kind == "total" else (3, operator.ge)
    if not least <= number < len(NUMBER_WORDS):
        return None
    text = _worded(kind, rng, description, number=NUMBER_WORDS[number])
    return _counted(description, text, kind, lambda left, right: bool(compare(left + right, number)))


def _twice(kind: str, first: View, _: View, rng: random.Random) -> Statement:
    description = first.present(rng, rng.choice(_DESCRIPTIONS))
    side = rng.choice((LEFT, RIGHT))
    text = _worded(kind, rng, description, **_sides(side))

    def holds(*counts: int) -> bool:
        return counts[side] == 2 * counts[1 - side] > 0

    return _counted(description, text, kind, holds)


def _sides(side: int) -> dict[str, str]:
    names = ("left", "right")
    return {"side": names[side], "other": names[1 - side]}


def _more_by(kind: str, first: View, _: View, rng: random.Random) -> Statement:
    description = first.present(rng, rng.choice(_DESCRIPTIONS))
    side, step = rng.choice((LEFT, RIGHT)), 1 if kind == "one_more" else 2
    text = _worded(kind, rng, description, **_sides(side))
    return _counted(description, text, kind, lambda *counts: counts[side] - counts[1 - side] == step)


def _compared(kind: str, first: View, _: View, rng: random.Random) -> Statement:
    description = first.present(rng, rng.choice(_DESCRIPTIONS))
    side, sign = rng.choice((LEFT, RIGHT)), 1 if kind == "more" else -1
    text = _worded(kind, rng, description, **_sides(side))
    return _counted(description, text, kind, lambda *counts: sign * counts[side] > sign * counts[1 - side])


_PRESENCE: Final[dict[str, Callable[[bool, bool], bool]]] = {
    "exactly_one": lambda left, right: left != right,
    "both_or_neither": lambda left, right: left == right,
    "both": lambda left, right: left and right,
    "neither": lambda left, right: not left and not right,
    "at_least_one": lambda left, right: left or right,
}


def _presence(kind: str, first: View, second: View, rng: random.Random) -> Statement:
    # For a picture that shows it, "neither" is false and "at least one" true, whatever the other one shows.
    source = second if kind in ("neither", "at_least_one") else first
    description = source.present(rng, rng.choice(_RARER))
    text = _worded(kind, rng, description)
    return Statement(text, kind, lambda view, _: bool(view.count(description)), _PRESENCE[kind])


def _each_number(kind: str, first: View, _: View, rng: random.Random) -> Statement | None:
    description = first.present(rng, rng.choice(_DESCRIPTIONS))
    number = first.count(description)
    if number < 2:
        return None
    text = _worded(kind, rng, description, number=NUMBER_WORDS[number])
    return _counted(description, text, kind, lambda left, right: left == right == number)


def _all(kind: str, first: View, _: View, rng: random.Random) -> Statement | None:
    base, (valued,) = rng.choice(((("shape",), ("fill",)), (("shape",), ("size",)), (("size",), ("fill",))))
    description = first.present(rng, base)
    values = dict(first.present(rng, (valued,)))
    with_value = in_order(dict(description) | values)
    text = _worded(kind, rng, description, value=predicate(valued, values[valued], plural=True))

    def value(view: View, _: int) -> bool | None:
        return view.count(with_value) == view.count(description) if view.count(description) else None

    return Statement(text, kind, value, lambda left, right: left and right)


def _one_value(kind: str, first: View, second: View, rng: random.Random) -> Statement | None:
    """Compare one attribute of the only thing of a kind in each picture."""
    name = rng.choice(ATTRIBUTES)
    one, other = _only_one(first, name, rng), _only_one(second, name, rng)
    if one is None or other is None:
        return None
    descriptions = (one, one if rng.random() < 0.5 else other)
    text = _worded(kind, rng, descriptions[0], one2=phrase(descriptions[1], rng), attribute=name)

    def value(view: View, side: int) -> str | None:
        things = [thing for thing in view.scene.objects if has(thing, dict(descriptions[side]))]
        return things[0].attribute(name) if len(things) == 1 else None

    same = kind == "same_attribute"
    return Statement(text, kind, value, lambda left, right: (left == right) == same)


def _only_one(view: View, without: str, rng: random.Random) -> Description | None:
    """A value that only one object has: the same words often fit one object of other pictures too."""
    names = ("shape", "shape", "color", "fill")
    described = [view.present(rng, (name,)) for name in names if name != without]
    unique = [description for description in described if view.count(description) == 1]
    return rng.choice(unique) if unique else None


def _main(kind: str, _: View, __: View, rng: random.Random) -> Statement:
    name = rng.choice(("color", "shape", "fill"))
    text = _worded(kind, rng, (), attribute=name)
    return Statement(text, kind, lambda view, _: _most_common(view.scene, name), lambda a, b: a == b)


def _most_common(scene: Scene, name: str) -> str | None:
    try:
        return most_common(scene, name)
    except AmbiguousProgramError:
        return None


_MAKERS: Final[dict[str, tuple[float, Callable[..., Statement | None]]]] = {
    "same_number": (3, _same_number),
    "total": (4, _total),
    "twice": (2, _twice),
    "one_more": (3, _more_by),
    "two_more": (1, _more_by),
    "exactly_one": (4, _presence),
    "both_or_neither": (2, _presence),
    "same_attribute": (4, _one_value),
    "different_attribute": (2, _one_value),
    "same_main": (1, _main),
    "both": (2, _presence),
    "neither": (1, _presence),
    "at_least_one": (1, _presence),
    "more": (2, _compared),
    "fewer": (1, _compared),
    "each_number": (1, _each_number),
    "at_least": (1, _total),
    "all": (1, _all),
}
"""The weight and the maker of each kind."""
ONE_SIDED: Final = ("both", "neither", "at_least_one", "more", "fewer", "each_number", "at_least", "all")
"""Kinds whose label one picture alone may reveal; of the others either picture leaves both possible."""

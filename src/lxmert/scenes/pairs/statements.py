"""NLVR2-style sentences about two pictures that require both.

The truth of a sentence depends on one value of each picture: a number of objects, whether there is one, a
colour. `Statement.value` returns a picture's value, or None if the sentence does not apply to it;
`Statement.is_true` decides from the left and the right value.
"""

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lxmert.scenes.lexicon import ATTRIBUTES, NUMBER_WORDS, with_article
from lxmert.scenes.object_descriptions import Description, SceneView, phrase, to_description
from lxmert.scenes.pairs.templates import TEMPLATES
from lxmert.scenes.programs import AmbiguousProgramError, most_common
from lxmert.scenes.questions.family import predicate
from lxmert.scenes.randomness import weighted_choice
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
        is_true: Whether the sentence is true of the left and the right value.
    """

    text: str
    kind: str
    value: Callable[[SceneView, int], Value]
    is_true: Callable[[Value, Value], bool]


def draw_kind(rng: random.Random) -> str:
    """A random kind of sentences."""
    return weighted_choice(rng, {kind: weight for kind, (weight, _) in _GENERATORS.items()})


def draw_statement(kind: str, first: SceneView, second: SceneView, rng: random.Random) -> Statement | None:
    """A random sentence about objects in two pictures; None on failure."""
    return _GENERATORS[kind][1](kind, first, second, rng)


def _fill_template(kind: str, rng: random.Random, description: Description, **fillers: str) -> str:
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
_RARE_DESCRIPTIONS: Final = (
    ("color",),
    ("shape",),
    ("fill",),
    ("color", "shape"),
    ("size", "color"),
    ("fill", "shape"),
)


def _count_statement(
    description: Description, text: str, kind: str, is_true: Callable[[int, int], bool]
) -> Statement:
    return Statement(text, kind, lambda view, _: view.count(description), is_true)


def _same_number(kind: str, first: SceneView, _: SceneView, rng: random.Random) -> Statement:
    description = first.sample_present(rng, rng.choice(_DESCRIPTIONS))
    return _count_statement(
        description, _fill_template(kind, rng, description), kind, lambda left, right: left == right
    )


def _total(kind: str, first: SceneView, second: SceneView, rng: random.Random) -> Statement | None:
    description = first.sample_present(rng, rng.choice(_DESCRIPTIONS))
    number = first.count(description) + second.count(description)
    minimum, compare = (2, operator.eq) if kind == "total" else (3, operator.ge)
    if not minimum <= number < len(NUMBER_WORDS):
        return None
    text = _fill_template(kind, rng, description, number=NUMBER_WORDS[number])
    return _count_statement(description, text, kind, lambda left, right: bool(compare(left + right, number)))


def _twice(kind: str, first: SceneView, _: SceneView, rng: random.Random) -> Statement:
    description = first.sample_present(rng, rng.choice(_DESCRIPTIONS))
    side = rng.choice((LEFT, RIGHT))
    text = _fill_template(kind, rng, description, **_sides(side))

    def is_true(*counts: int) -> bool:
        return counts[side] == 2 * counts[1 - side] > 0

    return _count_statement(description, text, kind, is_true)


def _sides(side: int) -> dict[str, str]:
    names = ("left", "right")
    return {"side": names[side], "other": names[1 - side]}


def _count_difference(kind: str, first: SceneView, _: SceneView, rng: random.Random) -> Statement:
    description = first.sample_present(rng, rng.choice(_DESCRIPTIONS))
    side, step = rng.choice((LEFT, RIGHT)), 1 if kind == "one_more" else 2
    text = _fill_template(kind, rng, description, **_sides(side))
    return _count_statement(description, text, kind, lambda *counts: counts[side] - counts[1 - side] == step)


def _count_comparison(kind: str, first: SceneView, _: SceneView, rng: random.Random) -> Statement:
    description = first.sample_present(rng, rng.choice(_DESCRIPTIONS))
    side, sign = rng.choice((LEFT, RIGHT)), 1 if kind == "more" else -1
    text = _fill_template(kind, rng, description, **_sides(side))
    return _count_statement(
        description, text, kind, lambda *counts: sign * counts[side] > sign * counts[1 - side]
    )


_PRESENCE: Final[dict[str, Callable[[bool, bool], bool]]] = {
    "exactly_one": lambda left, right: left != right,
    "both_or_neither": lambda left, right: left == right,
    "both": lambda left, right: left and right,
    "neither": lambda left, right: not left and not right,
    "at_least_one": lambda left, right: left or right,
}


def _presence(kind: str, first: SceneView, second: SceneView, rng: random.Random) -> Statement:
    # For a picture that shows it, "neither" is false and "at least one" true, whatever the other one shows.
    source = second if kind in ("neither", "at_least_one") else first
    description = source.sample_present(rng, rng.choice(_RARE_DESCRIPTIONS))
    text = _fill_template(kind, rng, description)
    return Statement(text, kind, lambda view, _: bool(view.count(description)), _PRESENCE[kind])


def _each_number(kind: str, first: SceneView, _: SceneView, rng: random.Random) -> Statement | None:
    description = first.sample_present(rng, rng.choice(_DESCRIPTIONS))
    number = first.count(description)
    if number < 2:
        return None
    text = _fill_template(kind, rng, description, number=NUMBER_WORDS[number])
    return _count_statement(description, text, kind, lambda left, right: left == right == number)


def _all_have_value(kind: str, first: SceneView, _: SceneView, rng: random.Random) -> Statement | None:
    base, (valued,) = rng.choice(((("shape",), ("fill",)), (("shape",), ("size",)), (("size",), ("fill",))))
    description = first.sample_present(rng, base)
    values = dict(first.sample_present(rng, (valued,)))
    with_value = to_description(dict(description) | values)
    text = _fill_template(kind, rng, description, value=predicate(valued, values[valued], plural=True))

    def value(view: SceneView, _: int) -> bool | None:
        count = view.count(description)
        # Of one object nobody says "all".
        return view.count(with_value) == count if count > 1 else None

    return Statement(text, kind, value, lambda left, right: left and right)


def _attribute_comparison(
    kind: str, first: SceneView, second: SceneView, rng: random.Random
) -> Statement | None:
    """Compare one attribute of the only object of a kind in each picture."""
    name = rng.choice(ATTRIBUTES)
    one, other = _unique_description(first, name, rng), _unique_description(second, name, rng)
    if one is None or other is None:
        return None
    descriptions = (one, one if rng.random() < 0.5 else other)
    text = _fill_template(kind, rng, descriptions[0], one2=phrase(descriptions[1], rng), attribute=name)

    def value(view: SceneView, side: int) -> str | None:
        objects = view.matching(descriptions[side])
        return objects[0].attribute(name) if len(objects) == 1 else None

    same = kind == "same_attribute"
    return Statement(text, kind, value, lambda left, right: (left == right) == same)


def _unique_description(view: SceneView, exclude: str, rng: random.Random) -> Description | None:
    """A value that only one object has: the same words often fit one object of other pictures too."""
    names = ("shape", "shape", "color", "fill")
    described = [view.sample_present(rng, (name,)) for name in names if name != exclude]
    unique = [description for description in described if view.count(description) == 1]
    return rng.choice(unique) if unique else None


def _same_most_common(kind: str, _: SceneView, __: SceneView, rng: random.Random) -> Statement:
    name = rng.choice(("color", "shape", "fill"))
    text = _fill_template(kind, rng, (), attribute=name)
    return Statement(text, kind, lambda view, _: _most_common(view.scene, name), lambda a, b: a == b)


def _most_common(scene: Scene, name: str) -> str | None:
    try:
        return most_common(scene, name)
    except AmbiguousProgramError:
        return None


_GENERATORS: Final[dict[str, tuple[float, Callable[..., Statement | None]]]] = {
    "same_number": (3, _same_number),
    "total": (4, _total),
    "twice": (2, _twice),
    "one_more": (3, _count_difference),
    "two_more": (1, _count_difference),
    "exactly_one": (4, _presence),
    "both_or_neither": (2, _presence),
    "same_attribute": (4, _attribute_comparison),
    "different_attribute": (2, _attribute_comparison),
    "same_main": (1, _same_most_common),
    "both": (2, _presence),
    "neither": (1, _presence),
    "at_least_one": (1, _presence),
    "more": (2, _count_comparison),
    "fewer": (1, _count_comparison),
    "each_number": (1, _each_number),
    "at_least": (1, _total),
    "all": (1, _all_have_value),
}
"""The weight and the maker of each kind."""
ONE_SIDED: Final = ("both", "neither", "at_least_one", "more", "fewer", "each_number", "at_least", "all")
"""Kinds whose label one picture alone may reveal; of the others either picture leaves both possible."""

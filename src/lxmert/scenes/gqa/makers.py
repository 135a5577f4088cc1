"""Drawing the meanings of GQA-style questions for a picture.

A maker draws one meaning of its form, or returns None on failure. As in `questions.family`, a form is
everything about a question except its fillers, and yes and no are balanced within a form.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lxmert.scenes.describing import describe
from lxmert.scenes.gqa.conjunctions import VerifyBoth, VerifyTwo
from lxmert.scenes.gqa.existence import Exist, ExistBeside, ExistNot, ExistThat, ExistTwo
from lxmert.scenes.gqa.meaning import Meaning
from lxmert.scenes.gqa.properties import Choose, Query, Verify
from lxmert.scenes.gqa.relations import AllSame, Beside, ChooseSide, Larger, Same
from lxmert.scenes.gqa.things import PLACE_PROPERTIES, SAME, SCENE, Picture, Thing, other_value
from lxmert.scenes.lexicon import ATTRIBUTES, RELATIONS, VALUES

Names = tuple[str, ...]
Make = Callable[[Picture, random.Random, Names], Meaning | None]
_SHARED: Final = ("color", "size", "fill")


@dataclass(frozen=True)
class Maker:
    """Draws meanings of one kind.

    Attributes:
        make: Draws a meaning of a form.
        weight: Frequency, relative to the others.
        forms: Each form's properties.
    """

    make: Make
    weight: float
    forms: Sequence[Names]


def _thing(
    picture: Picture, rng: random.Random, without: Names = (), other: Thing | None = None
) -> Thing | None:
    reference = picture.view.reference(rng, without, picture.find(other) if other else None)
    return Thing(reference[1]) if reference else None


def _related(picture: Picture, rng: random.Random, names: Names) -> Thing | None:
    """A thing identified by attributes and by its relation to another one."""
    origin = picture.view.reference(rng)
    if origin is None:
        return None
    return Thing(picture.view.present(rng, names), rng.choice(list(RELATIONS)), origin[1])


def _subject(picture: Picture, rng: random.Random, form: Names) -> Thing | None:
    """The thing that a form asks about: (property) of a thing, (property, "beside", attributes of it...)."""
    if form[0].startswith("main "):
        return SCENE
    if len(form) > 1:
        return _related(picture, rng, form[2:])
    return _thing(picture, rng, form[:1])


def _query(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    thing = _subject(picture, rng, form)
    return Query(thing, form[0]) if thing else None


def _same_relate(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    origin = _thing(picture, rng, form)
    return Query(Thing((), f"{SAME}{form[0]}", origin.description), "shape") if origin else None


def _verify(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    thing = _subject(picture, rng, form)
    if thing is None:
        return None
    value = picture.value(thing, form[0])
    return Verify(thing, form[0], value if rng.random() < 0.5 else other_value(rng, form[0], value))


def _choose(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    thing = _subject(picture, rng, form)
    if thing is None:
        return None
    value = picture.value(thing, form[0])
    options = [value, other_value(rng, form[0], value)]
    rng.shuffle(options)
    return Choose(thing, form[0], *options)


def _verify_both(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    thing = _thing(picture, rng, form)
    if thing is None:
        return None
    pairs = [(name, picture.find(thing).attribute(name)) for name in form]
    if rng.random() < 0.5:
        # One wrong value: if both were wrong, either word alone would decide.
        wrong = rng.randrange(2)
        pairs[wrong] = (form[wrong], other_value(rng, *pairs[wrong]))
    return VerifyBoth(thing, *pairs)


def _verify_two(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    pair = _two(picture, rng, form)
    if pair is None:
        return None
    value = picture.find(rng.choice(pair)).attribute(form[0])
    return VerifyTwo(*pair, form[0], value)


def _two(picture: Picture, rng: random.Random, without: Names) -> tuple[Thing, Thing] | None:
    first = _thing(picture, rng, without)
    second = _thing(picture, rng, without, first) if first else None
    return (first, second) if first and second else None


def _exist(kind: type[Exist], picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    description = picture.view.maybe(rng, form)
    return kind(description) if description is not None else None


def _exist_not(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    *names, valued = form
    thing = rng.choice(picture.scene.objects)
    return ExistNot(describe(thing, names), valued, thing.attribute(valued))


def _exist_beside(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    origin = _thing(picture, rng)
    if origin is None:
        return None
    description = picture.view.at_random(rng, form)
    if set(origin.description) <= set(description):
        return None
    return ExistBeside(description, rng.choice(list(RELATIONS)), origin.description)


def _exist_two(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    operation, *names = form
    first, second = picture.view.maybe(rng, names), picture.view.maybe(rng, names)
    if first is None or second is None or first == second:
        return None
    # If one part decides alone, the question is of little use: both absent for "and", both present for "or".
    if bool(picture.view.count(first)) == bool(picture.view.count(second)) == (operation == "or"):
        return None
    return ExistTwo(operation, first, second)


def _named(picture: Picture, rng: random.Random) -> Thing | None:
    """A thing identified by its shape alone."""
    shapes = [shape for shape in VALUES["shape"] if picture.view.count((("shape", shape),)) == 1]
    return Thing((("shape", rng.choice(shapes)),)) if shapes else None


def _beside(picture: Picture, rng: random.Random, _: Names) -> Meaning | None:
    first = _named(picture, rng)
    second = _thing(picture, rng, (), first) if first else None
    return Beside(first, rng.choice(list(RELATIONS)), second) if first and second else None


def _choose_side(picture: Picture, rng: random.Random, _: Names) -> Meaning | None:
    first = _named(picture, rng)
    second = _thing(picture, rng, (), first) if first else None
    options = rng.choice((("left", "right"), ("right", "left")))
    return ChooseSide(first, second, options) if first and second else None


def _same(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    pair = _two(picture, rng, form[:1])
    return Same(*pair, form[0], different=len(form) > 1) if pair else None


def _all_same(picture: Picture, rng: random.Random, form: Names) -> Meaning | None:
    name, described, *different = form
    return AllSame(picture.view.present(rng, (described,)), name, bool(different))


def _larger(picture: Picture, rng: random.Random, _: Names) -> Meaning | None:
    pair = _two(picture, rng, ("size",))
    if pair is None or not all("shape" in dict(thing.description) for thing in pair):
        return None
    return Larger(*rng.sample(pair, 2))


def _forms(*names: str) -> tuple[Names, ...]:
    return tuple((name,) for name in names)


_BESIDE: Final = (
    ("color", "beside", "shape"),
    ("color", "beside"),
    ("fill", "beside", "shape"),
    ("size", "beside", "shape"),
)
_DESCRIPTIONS: Final = (
    ("shape",),
    ("shape",),
    ("color", "shape"),
    ("color", "shape"),
    ("fill", "shape"),
    ("size", "shape"),
    ("color",),
    ("fill", "color"),
    ("size", "color", "shape"),
)
_NAMED_BESIDE: Final = (("shape", "beside"), ("shape", "beside", "color"), ("shape", "beside", "fill"))

MAKERS: Final = (
    Maker(_query, 14, (*_forms("color", "color", "size", "fill", "hposition"), *_BESIDE)),
    Maker(_query, 12, (("shape",), *_NAMED_BESIDE)),
    Maker(_same_relate, 3, _forms(*_SHARED)),
    Maker(_query, 2, _forms("main color", "main shape")),
    Maker(_verify, 10, (*_forms(*ATTRIBUTES, "color", *PLACE_PROPERTIES), *_BESIDE)),
    Maker(_verify, 1, _forms("main color")),
    Maker(_verify_both, 5, (("size", "color"), ("fill", "color"), ("size", "fill"))),
    Maker(_verify_two, 2, _forms(*_SHARED)),
    Maker(partial(_exist, Exist), 4, _DESCRIPTIONS),
    Maker(
        partial(_exist, ExistThat),
        2,
        (("color", "shape"), ("fill", "shape"), ("size", "shape"), ("fill", "color", "shape")),
    ),
    Maker(_exist_not, 2, (("shape", "color"), ("shape", "fill"), ("shape", "size"))),
    Maker(_exist_beside, 4, (("shape",), ("color", "shape"), ("color",), ("fill", "shape"))),
    Maker(
        _exist_two,
        4,
        (("and", "shape"), ("or", "shape"), ("and", "color", "shape"), ("or", "color", "shape")),
    ),
    Maker(_beside, 6, ((),)),
    Maker(
        _choose,
        7,
        (*_forms("color", "size", "fill", "shape", *PLACE_PROPERTIES), *_BESIDE[:1], *_NAMED_BESIDE[:1]),
    ),
    Maker(_choose, 1, _forms("main color")),
    Maker(_choose_side, 3, ((),)),
    Maker(_same, 5, (*_forms(*ATTRIBUTES), *((name, "different") for name in ATTRIBUTES))),
    Maker(_all_same, 2, tuple((name, "shape", *more) for name in _SHARED for more in ((), ("different",)))),
    Maker(_larger, 2, ((),)),
)

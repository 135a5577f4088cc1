"""Sampling the meanings of GQA-style questions for a picture.

A sampler draws one meaning of its form, or returns None on failure. As in `questions.family`, a form is
everything about a question except its fillers, and yes and no are balanced within a form.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lxmert.scenes.gqa.conjunctions import VerifyBoth, VerifyTwo
from lxmert.scenes.gqa.existence import Exist, ExistNot, ExistRelated, ExistThat, ExistTwo
from lxmert.scenes.gqa.meaning import Meaning
from lxmert.scenes.gqa.properties import Choose, Query, Verify
from lxmert.scenes.gqa.references import PLACE_PROPERTIES, SAME, SCENE, GqaScene, ObjectReference, other_value
from lxmert.scenes.gqa.relations import AllSame, ChooseRelation, Larger, Same, VerifyRelation
from lxmert.scenes.lexicon import ATTRIBUTES, RELATIONS, VALUES
from lxmert.scenes.object_descriptions import describe, includes

Names = tuple[str, ...]
SampleFunction = Callable[[GqaScene, random.Random, Names], Meaning | None]
_COMPARED_ATTRIBUTES: Final = ("color", "size", "fill")


@dataclass(frozen=True)
class MeaningSampler:
    """Draws meanings of one kind.

    Attributes:
        sample: Draws a meaning of a form.
        weight: Frequency, relative to the others.
        forms: Each form's properties.
    """

    sample: SampleFunction
    weight: float
    forms: Sequence[Names]


def _sample_reference(
    gqa_scene: GqaScene, rng: random.Random, exclude: Names = (), other: ObjectReference | None = None
) -> ObjectReference | None:
    sampled = gqa_scene.view.sample_reference(rng, exclude, gqa_scene.resolve(other) if other else None)
    return ObjectReference(sampled[1]) if sampled else None


def _sample_related(gqa_scene: GqaScene, rng: random.Random, names: Names) -> ObjectReference | None:
    """A reference by attributes and by a relation to another object."""
    origin = gqa_scene.view.sample_reference(rng)
    if origin is None:
        return None
    return ObjectReference(gqa_scene.view.sample_present(rng, names), rng.choice(list(RELATIONS)), origin[1])


def _sample_subject(gqa_scene: GqaScene, rng: random.Random, form: Names) -> ObjectReference | None:
    """What a form asks about: (property) of an object, (property, "beside", attributes of it...)."""
    if form[0].startswith("main "):
        return SCENE
    if len(form) > 1:
        return _sample_related(gqa_scene, rng, form[2:])
    return _sample_reference(gqa_scene, rng, form[:1])


def _query(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    reference = _sample_subject(gqa_scene, rng, form)
    return Query(reference, form[0]) if reference else None


def _same_relate(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    origin = _sample_reference(gqa_scene, rng, form)
    return Query(ObjectReference((), f"{SAME}{form[0]}", origin.description), "shape") if origin else None


def _verify(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    reference = _sample_subject(gqa_scene, rng, form)
    if reference is None:
        return None
    value = gqa_scene.property_value(reference, form[0])
    return Verify(reference, form[0], value if rng.random() < 0.5 else other_value(rng, form[0], value))


def _choose(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    reference = _sample_subject(gqa_scene, rng, form)
    if reference is None:
        return None
    value = gqa_scene.property_value(reference, form[0])
    options = [value, other_value(rng, form[0], value)]
    rng.shuffle(options)
    return Choose(reference, form[0], *options)


def _verify_both(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    reference = _sample_reference(gqa_scene, rng, form)
    if reference is None:
        return None
    pairs = [(name, gqa_scene.resolve(reference).attribute(name)) for name in form]
    if rng.random() < 0.5:
        # One wrong value: if both were wrong, either word alone would decide.
        wrong = rng.randrange(2)
        pairs[wrong] = (form[wrong], other_value(rng, *pairs[wrong]))
    return VerifyBoth(reference, *pairs)


def _verify_two(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    pair = _sample_pair(gqa_scene, rng, form)
    if pair is None:
        return None
    value = gqa_scene.resolve(rng.choice(pair)).attribute(form[0])
    return VerifyTwo(*pair, form[0], value)


def _sample_pair(
    gqa_scene: GqaScene, rng: random.Random, exclude: Names
) -> tuple[ObjectReference, ObjectReference] | None:
    first = _sample_reference(gqa_scene, rng, exclude)
    second = _sample_reference(gqa_scene, rng, exclude, first) if first else None
    return (first, second) if first and second else None


def _exist(kind: type[Exist], gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    description = gqa_scene.view.sample_either(rng, form)
    return kind(description) if description is not None else None


def _exist_not(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    *names, valued = form
    obj = rng.choice(gqa_scene.scene.objects)
    return ExistNot(describe(obj, names), valued, obj.attribute(valued))


def _exist_related(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    origin = _sample_reference(gqa_scene, rng)
    if origin is None:
        return None
    description = gqa_scene.view.sample_any(rng, form)
    if includes(description, origin.description):
        return None
    return ExistRelated(description, rng.choice(list(RELATIONS)), origin.description)


def _exist_two(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    operation, *names = form
    first, second = gqa_scene.view.sample_either(rng, names), gqa_scene.view.sample_either(rng, names)
    if first is None or second is None or first == second:
        return None
    # If one part decides alone, the question is of little use: both absent for "and", both present for "or".
    if bool(gqa_scene.view.count(first)) == bool(gqa_scene.view.count(second)) == (operation == "or"):
        return None
    return ExistTwo(operation, first, second)


def _sample_shape_reference(gqa_scene: GqaScene, rng: random.Random) -> ObjectReference | None:
    """A reference by the shape alone."""
    shapes = [shape for shape in VALUES["shape"] if gqa_scene.view.count((("shape", shape),)) == 1]
    return ObjectReference((("shape", rng.choice(shapes)),)) if shapes else None


def _verify_relation(gqa_scene: GqaScene, rng: random.Random, _: Names) -> Meaning | None:
    first = _sample_shape_reference(gqa_scene, rng)
    second = _sample_reference(gqa_scene, rng, (), first) if first else None
    return VerifyRelation(first, rng.choice(list(RELATIONS)), second) if first and second else None


def _choose_relation(gqa_scene: GqaScene, rng: random.Random, _: Names) -> Meaning | None:
    first = _sample_shape_reference(gqa_scene, rng)
    second = _sample_reference(gqa_scene, rng, (), first) if first else None
    options = rng.choice((("left", "right"), ("right", "left")))
    return ChooseRelation(first, second, options) if first and second else None


def _same(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    pair = _sample_pair(gqa_scene, rng, form[:1])
    return Same(*pair, form[0], different=len(form) > 1) if pair else None


def _all_same(gqa_scene: GqaScene, rng: random.Random, form: Names) -> Meaning | None:
    name, described, *different = form
    return AllSame(gqa_scene.view.sample_present(rng, (described,)), name, bool(different))


def _larger(gqa_scene: GqaScene, rng: random.Random, _: Names) -> Meaning | None:
    pair = _sample_pair(gqa_scene, rng, ("size",))
    if pair is None or not all("shape" in dict(reference.description) for reference in pair):
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

# As in VQA, questions that compare are asked more often than in the real files, because they are learnt last.
SAMPLERS: Final = (
    MeaningSampler(_query, 14, (*_forms("color", "color", "size", "fill", "hposition"), *_BESIDE)),
    MeaningSampler(_query, 12, (("shape",), *_NAMED_BESIDE)),
    MeaningSampler(_same_relate, 3, _forms(*_COMPARED_ATTRIBUTES)),
    MeaningSampler(_query, 2, _forms("main color", "main shape")),
    MeaningSampler(_verify, 10, (*_forms(*ATTRIBUTES, "color", *PLACE_PROPERTIES), *_BESIDE)),
    MeaningSampler(_verify, 1, _forms("main color")),
    MeaningSampler(_verify_both, 5, (("size", "color"), ("fill", "color"), ("size", "fill"))),
    MeaningSampler(_verify_two, 2, _forms(*_COMPARED_ATTRIBUTES)),
    MeaningSampler(partial(_exist, Exist), 4, _DESCRIPTIONS),
    MeaningSampler(
        partial(_exist, ExistThat),
        2,
        (("color", "shape"), ("fill", "shape"), ("size", "shape"), ("fill", "color", "shape")),
    ),
    MeaningSampler(_exist_not, 2, (("shape", "color"), ("shape", "fill"), ("shape", "size"))),
    MeaningSampler(_exist_related, 4, (("shape",), ("color", "shape"), ("color",), ("fill", "shape"))),
    MeaningSampler(
        _exist_two,
        4,
        (("and", "shape"), ("or", "shape"), ("and", "color", "shape"), ("or", "color", "shape")),
    ),
    MeaningSampler(_verify_relation, 6, ((),)),
    MeaningSampler(
        _choose,
        7,
        (*_forms("color", "size", "fill", "shape", *PLACE_PROPERTIES), *_BESIDE[:1], *_NAMED_BESIDE[:1]),
    ),
    MeaningSampler(_choose, 1, _forms("main color")),
    MeaningSampler(_choose_relation, 3, ((),)),
    MeaningSampler(_same, 8, (*_forms(*ATTRIBUTES), *((name, "different") for name in ATTRIBUTES))),
    MeaningSampler(
        _all_same,
        2,
        tuple((name, "shape", *more) for name in _COMPARED_ATTRIBUTES for more in ((), ("different",))),
    ),
    MeaningSampler(_larger, 2, ((),)),
)

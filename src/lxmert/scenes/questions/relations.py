"""Families about the places of objects relative to each other: beside, nearest, farthest."""

import functools
import random
from typing import Final

from lxmert.scenes.lexicon import RELATIONS
from lxmert.scenes.object_descriptions import SceneView
from lxmert.scenes.questions.family import (
    Draft,
    Family,
    Form,
    attribute_fillers,
    build_program,
    fill_template,
    select_step,
)


def _relation(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    first = view.sample_reference(rng)
    second = view.sample_reference(rng, exclude_object=first[0]) if first else None
    if first is None or second is None:
        return None
    direction = rng.choice(list(RELATIONS))
    side = rng.choice(RELATIONS[direction])
    text = fill_template(form.template, rng, the=first[1], the2=second[1], side=side)
    steps = (
        select_step(first[1]),
        ("unique", (0,)),
        select_step(second[1]),
        ("unique", (2,)),
        ("is_beside", (1, 3), direction),
    )
    return Draft(text, build_program(*steps))


def _relation_query(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    asked, *names = form.names
    origin = view.sample_reference(rng)
    if origin is None:
        return None
    described = view.sample_present(rng, names)
    direction = rng.choice(list(RELATIONS))
    side = rng.choice(RELATIONS[direction])
    text = fill_template(
        form.template, rng, **attribute_fillers(asked), one=described, side=side, the=origin[1]
    )
    steps = (
        select_step(origin[1]),
        ("unique", (0,)),
        select_step(described),
        ("beside", (2, 1), direction),
        ("unique", (3,)),
        ("query", (4,), asked),
    )
    return Draft(text, build_program(*steps))


def _relation_count(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    origin = view.sample_reference(rng)
    if origin is None:
        return None
    described = view.sample_present(rng, form.names)
    if view.count(described) < 2:  # the answer would be 0 or 1, and mostly 0
        return None
    direction = rng.choice(list(RELATIONS))
    side = rng.choice(RELATIONS[direction])
    text = fill_template(form.template, rng, many=described, side=side, the=origin[1])
    steps = (
        select_step(origin[1]),
        ("unique", (0,)),
        select_step(described),
        ("beside", (2, 1), direction),
        ("count", (3,)),
    )
    return Draft(text, build_program(*steps))


def _by_distance(operation: str, view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    (asked,) = form.names
    origin = view.sample_reference(rng)
    if origin is None:
        return None
    text = fill_template(form.template, rng, **attribute_fillers(asked), one=(), the=origin[1])
    steps = (select_step(origin[1]), ("unique", (0,)), (operation, (1,)), ("query", (2,), asked))
    return Draft(text, build_program(*steps))


_ASKED: Final = (("color",), ("shape",))

FAMILIES: Final = (
    Family("relation", "yes/no", 7, _relation),
    Family(
        "relation_query",
        "other",
        3,
        _relation_query,
        (("color",), ("shape",), ("color", "shape"), ("shape", "color"), ("fill", "shape")),
    ),
    Family("relation_count", "number", 2, _relation_count, ((), (), (), ("color",), ("shape",))),
    Family("nearest", "other", 2, functools.partial(_by_distance, "nearest"), _ASKED),
    Family("farthest", "other", 2, functools.partial(_by_distance, "farthest"), _ASKED),
)

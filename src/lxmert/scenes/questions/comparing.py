"""Families that compare counts, attributes and sizes."""

import random
from typing import Final

from lxmert.scenes.lexicon import ATTRIBUTES
from lxmert.scenes.object_descriptions import SceneView, is_nested
from lxmert.scenes.questions.family import (
    Draft,
    Family,
    Form,
    attribute_fillers,
    build_program,
    fill_template,
    select_step,
)


def _compare_count(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    first, second = view.sample_present(rng, form.names), view.sample_present(rng, form.names2)
    if is_nested(first, second):
        return None
    text = fill_template(form.template, rng, many=first, many2=second)
    steps = (
        select_step(first),
        ("count", (0,)),
        select_step(second),
        ("count", (2,)),
        (form.variant, (1, 3)),
    )
    return Draft(text, build_program(*steps))


def _compare_attribute(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    (name,) = form.names
    return _two_objects(view, form, rng, "same", name, exclude=name)


def _compare_size(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    return _two_objects(view, form, rng, form.variant, None, exclude="size")


def _two_objects(
    view: SceneView, form: Form, rng: random.Random, operation: str, argument: str | None, exclude: str
) -> Draft | None:
    first = view.sample_reference(rng, exclude=(exclude,))
    second = view.sample_reference(rng, exclude=(exclude,), exclude_object=first[0]) if first else None
    if first is None or second is None:
        return None
    text = fill_template(
        form.template, rng, the=first[1], the2=second[1], **(attribute_fillers(argument) if argument else {})
    )
    steps = (
        select_step(first[1]),
        ("unique", (0,)),
        select_step(second[1]),
        ("unique", (2,)),
        (operation, (1, 3), argument),
    )
    return Draft(text, build_program(*steps))


_ONE: Final = (("color",), ("shape",))

# Counts and attributes are compared more often than in VQA: a small model needs many examples of it.
FAMILIES: Final = (
    Family("compare_count", "yes/no", 18, _compare_count, (*_ONE, ("size",), ("fill",)), _ONE),
    Family("compare_attribute", "yes/no", 14, _compare_attribute, tuple((name,) for name in ATTRIBUTES)),
    Family("compare_size", "yes/no", 3, _compare_size),
)

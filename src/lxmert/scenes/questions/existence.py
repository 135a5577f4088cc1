"""Families that ask whether something exists, with and, or, not, every."""

import functools
import random
from typing import Final

from lxmert.scenes.object_descriptions import Description, SceneView, describe, is_nested
from lxmert.scenes.questions.family import (
    Draft,
    Family,
    Form,
    build_program,
    fill_template,
    predicate,
    select_step,
)

_DESCRIPTIONS: Final = (
    ("color",),
    ("shape",),
    ("color", "shape"),
    ("color", "shape"),
    ("fill", "shape"),
    ("size", "shape"),
    ("size", "color"),
    ("fill", "color"),
    ("size", "color", "shape"),
)
_SHORT: Final = (("color",), ("shape",), ("color", "shape"))


def _exist(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    described = view.sample_either(rng, form.names)
    if described is None:
        return None
    text = fill_template(form.template, rng, a=described, many=described)
    return Draft(text, build_program(select_step(described), ("exist", (0,))))


def _two_exist(operation: str, view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    first, second = view.sample_either(rng, form.names), view.sample_either(rng, form.names2)
    if first is None or second is None or is_nested(first, second):
        return None
    # If one part decides alone, the question is of little use: both absent for "and", both present for "or".
    if bool(view.count(first)) == bool(view.count(second)) == (operation == "or"):
        return None
    if view.count(first) == view.count(second) == 1 and view.matching(first) == view.matching(second):
        return None  # a red thing and a star, which are one and the same
    text = fill_template(form.template, rng, a=first, a2=second, many=first, many2=second)
    steps = (select_step(first), ("exist", (0,)), select_step(second), ("exist", (2,)), (operation, (1, 3)))
    return Draft(text, build_program(*steps))


def _base_and_value(view: SceneView, form: Form, rng: random.Random) -> tuple[Description, tuple[str, str]]:
    """A description and a value of one of its objects; the form lists the description's attributes first."""
    *names, valued = form.names
    obj = rng.choice(view.scene.objects)
    return describe(obj, names), (valued, obj.attribute(valued))


def _exist_not(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    base, (name, value) = _base_and_value(view, form, rng)
    text = fill_template(form.template, rng, a=base, value=predicate(name, value))
    steps = (select_step(base), ("reject", (0,), {name: value}), ("exist", (1,)))
    return Draft(text, build_program(*steps))


def _universal(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    base, (name, value) = _base_and_value(view, form, rng)
    if view.count(base) < 2:
        return None
    text = fill_template(form.template, rng, one=base, value=predicate(name, value))
    steps = (select_step(base), ("reject", (0,), {name: value}), ("exist", (1,)), ("not", (2,)))
    return Draft(text, build_program(*steps))


_BASE_AND_VALUE: Final = (
    ("shape", "color"),
    ("shape", "fill"),
    ("shape", "size"),
    ("color", "shape"),
    ("color", "fill"),
    ("color", "size"),
)

FAMILIES: Final = (
    Family("exist", "yes/no", 9, _exist, _DESCRIPTIONS),
    Family("exist_and", "yes/no", 3, functools.partial(_two_exist, "and"), _SHORT, _SHORT),
    Family("exist_or", "yes/no", 3, functools.partial(_two_exist, "or"), _SHORT, _SHORT),
    Family("exist_not", "yes/no", 4, _exist_not, _BASE_AND_VALUE),
    Family("universal", "yes/no", 7, _universal, _BASE_AND_VALUE),
)

"""Families that compare counts, attributes and sizes."""

import random
from typing import Final

from lxmert.scenes.describing import View
from lxmert.scenes.lexicon import ATTRIBUTES
from lxmert.scenes.questions.family import Draft, Family, Form, program, select, written


def _compare_count(view: View, form: Form, rng: random.Random) -> Draft | None:
    first, second = view.present(rng, form.names), view.present(rng, form.names2)
    if set(first) <= set(second) or set(second) <= set(first):
        return None
    text = written(form.template, rng, many=first, many2=second)
    steps = (select(first), ("count", (0,)), select(second), ("count", (2,)), (form.variant, (1, 3)))
    return Draft(text, program(*steps))


def _compare_attribute(view: View, form: Form, rng: random.Random) -> Draft | None:
    (name,) = form.names
    return _two_objects(view, form, rng, "same", name, without=name)


def _compare_size(view: View, form: Form, rng: random.Random) -> Draft | None:
    return _two_objects(view, form, rng, form.variant, None, without="size")


def _two_objects(
    view: View, form: Form, rng: random.Random, operation: str, argument: str | None, without: str
) -> Draft | None:
    first = view.reference(rng, without=(without,))
    second = view.reference(rng, without=(without,), other_than=first[0]) if first else None
    if first is None or second is None:
        return None
    text = written(form.template, rng, the=first[1], the2=second[1], attribute=argument or "")
    steps = (
        select(first[1]),
        ("unique", (0,)),
        select(second[1]),
        ("unique", (2,)),
        (operation, (1, 3), argument),
    )
    return Draft(text, program(*steps))


_ONE: Final = (("color",), ("shape",))

FAMILIES: Final = (
    Family("compare_count", "yes/no", 4, _compare_count, (*_ONE, ("size",), ("fill",)), _ONE),
    Family("compare_attribute", "yes/no", 5, _compare_attribute, tuple((name,) for name in ATTRIBUTES)),
    Family("compare_size", "yes/no", 3, _compare_size),
)

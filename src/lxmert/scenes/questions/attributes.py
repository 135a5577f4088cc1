"""Families that ask for an attribute or the place of one object."""

import functools
import random
from typing import Final

from lxmert.scenes.describing import View
from lxmert.scenes.questions.family import Draft, Family, Form, program, select, written


def _query(name: str, view: View, form: Form, rng: random.Random) -> Draft | None:
    reference = view.reference(rng, without=(name,))
    if reference is None:
        return None
    text = written(form.template, rng, the=reference[1])
    return Draft(text, program(select(reference[1]), ("unique", (0,)), ("query", (1,), name)))


def _position(view: View, form: Form, rng: random.Random) -> Draft | None:
    reference = view.reference(rng)
    if reference is None:
        return None
    text = written(form.template, rng, the=reference[1])
    return Draft(text, program(select(reference[1]), ("unique", (0,)), ("half", (1,), form.variant)))


FAMILIES: Final = (
    Family("query_color", "other", 9, functools.partial(_query, "color")),
    Family("query_shape", "other", 9, functools.partial(_query, "shape")),
    Family("query_size", "other", 5, functools.partial(_query, "size")),
    Family("query_fill", "other", 6, functools.partial(_query, "fill")),
    Family("position", "other", 7, _position),
)

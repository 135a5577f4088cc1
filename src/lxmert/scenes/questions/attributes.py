"""Families that ask for an attribute or the place of one object."""

import functools
import random
from typing import Final

from lxmert.scenes.object_descriptions import SceneView
from lxmert.scenes.questions.family import Draft, Family, Form, build_program, fill_template, select_step


def _query(name: str, view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    reference = view.sample_reference(rng, exclude=(name,))
    if reference is None:
        return None
    text = fill_template(form.template, rng, the=reference[1])
    return Draft(text, build_program(select_step(reference[1]), ("unique", (0,)), ("query", (1,), name)))


def _position(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    reference = view.sample_reference(rng)
    if reference is None:
        return None
    text = fill_template(form.template, rng, the=reference[1])
    return Draft(
        text, build_program(select_step(reference[1]), ("unique", (0,)), ("half", (1,), form.variant))
    )


FAMILIES: Final = (
    Family("query_color", "other", 9, functools.partial(_query, "color")),
    Family("query_shape", "other", 9, functools.partial(_query, "shape")),
    Family("query_size", "other", 5, functools.partial(_query, "size")),
    Family("query_fill", "other", 6, functools.partial(_query, "fill")),
    Family("position", "other", 7, _position),
)

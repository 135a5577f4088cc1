"""Families with a superlative over the whole picture: leftmost, largest, most common."""

import functools
import random
from typing import Final

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


def _superlative(operation: str, view: SceneView, form: Form, rng: random.Random) -> Draft:
    asked, *names = form.names
    among = view.sample_present(rng, names)
    text = fill_template(form.template, rng, **attribute_fillers(asked), one=among)
    return Draft(
        text, build_program(select_step(among), (operation, (0,), form.variant), ("query", (1,), asked))
    )


def _most_common(_: SceneView, form: Form, rng: random.Random) -> Draft | None:
    (name,) = form.names
    return Draft(
        fill_template(form.template, rng, **attribute_fillers(name)), build_program(("most_common", (), name))
    )


_ASKED: Final = (("color",), ("shape",), ("fill",), ("color", "shape"), ("shape", "color"))

FAMILIES: Final = (
    Family("outermost", "other", 5, functools.partial(_superlative, "outermost"), _ASKED),
    Family("extreme", "other", 6, functools.partial(_superlative, "extreme"), _ASKED),
    Family("most_common", "other", 2, _most_common, (("color",), ("shape",))),
)

"""Families with a superlative over the whole picture: leftmost, largest, most common."""

import functools
import random
from typing import Final

from lxmert.scenes.describing import View
from lxmert.scenes.questions.family import Draft, Family, Form, program, select, written


def _superlative(operation: str, view: View, form: Form, rng: random.Random) -> Draft:
    asked, *names = form.names
    among = view.present(rng, names)
    text = written(form.template, rng, attribute=asked, one=among)
    return Draft(text, program(select(among), (operation, (0,), form.variant), ("query", (1,), asked)))


def _most_common(_: View, form: Form, rng: random.Random) -> Draft | None:
    (name,) = form.names
    return Draft(written(form.template, rng, attribute=name), program(("most_common", (), name)))


_ASKED: Final = (("color",), ("shape",), ("fill",), ("color", "shape"), ("shape", "color"))

FAMILIES: Final = (
    Family("outermost", "other", 5, functools.partial(_superlative, "outermost"), _ASKED),
    Family("extreme", "other", 6, functools.partial(_superlative, "extreme"), _ASKED),
    Family("most_common", "other", 2, _most_common, (("color",), ("shape",))),
)

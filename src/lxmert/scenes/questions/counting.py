"""Families that ask for a number."""

import random
from typing import Final

from lxmert.scenes.lexicon import VALUES
from lxmert.scenes.object_descriptions import Description, SceneView
from lxmert.scenes.questions.family import (
    Draft,
    Family,
    Form,
    build_program,
    fill_template,
    predicate,
    select_step,
)

_MAX_ATTEMPTS: Final = 8


def _count(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    # Several descriptions are drawn and one of their counts is chosen first, because large counts are rarer
    # than small ones and would hardly occur otherwise.
    by_count: dict[int, Description] = {}
    for _ in range(_MAX_ATTEMPTS):
        drawn = view.sample_any(rng, form.names)
        by_count[view.count(drawn)] = drawn
    chosen = by_count[rng.choice(sorted(by_count))]
    text = fill_template(form.template, rng, many=chosen)
    return Draft(text, build_program(select_step(chosen), ("count", (0,))))


def _count_or(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    *names, valued = form.names
    base = view.sample_any(rng, names)
    first, second = rng.sample(VALUES[valued], 2)
    words = {
        key: predicate(valued, value, plural=True) for key, value in (("value", first), ("value2", second))
    }
    text = fill_template(form.template, rng, many=base, **words)
    either = (select_step((*base, (valued, first))), select_step((*base, (valued, second))))
    return Draft(text, build_program(*either, ("unite", (0, 1)), ("count", (2,))))


def _count_not(view: SceneView, form: Form, rng: random.Random) -> Draft | None:
    *names, valued = form.names
    base = view.sample_any(rng, names)
    value = rng.choice(VALUES[valued])
    text = fill_template(form.template, rng, many=base, value=predicate(valued, value, plural=True))
    return Draft(text, build_program(select_step(base), ("reject", (0,), {valued: value}), ("count", (1,))))


FAMILIES: Final = (
    Family(
        "count",
        "number",
        9,
        _count,
        (
            (),
            ("color",),
            ("color",),
            ("shape",),
            ("shape",),
            ("size",),
            ("fill",),
            ("size", "shape"),
            ("fill", "shape"),
            ("color", "shape"),
            ("size", "color"),
        ),
    ),
    Family("count_or", "number", 3, _count_or, (("color",), ("shape",), ("fill",), ("size", "color"))),
    Family(
        "count_not",
        "number",
        3,
        _count_not,
        (("color",), ("shape",), ("fill",), ("shape", "color"), ("color", "fill")),
    ),
)

"""Families that ask for a number."""

import random
from typing import Final

from lxmert.scenes.describing import Description, View
from lxmert.scenes.lexicon import VALUES
from lxmert.scenes.questions.family import Draft, Family, Form, predicate, program, select, written

_TRIES: Final = 8


def _count(view: View, form: Form, rng: random.Random) -> Draft | None:
    # Several descriptions are drawn and one of their counts is chosen first, because large counts are rarer
    # than small ones and would hardly occur otherwise.
    by_count: dict[int, Description] = {}
    for _ in range(_TRIES):
        drawn = view.at_random(rng, form.names)
        by_count[view.count(drawn)] = drawn
    chosen = by_count[rng.choice(sorted(by_count))]
    text = written(form.template, rng, many=chosen)
    return Draft(text, program(select(chosen), ("count", (0,))))


def _count_or(view: View, form: Form, rng: random.Random) -> Draft | None:
    *names, valued = form.names
    base = view.at_random(rng, names)
    first, second = rng.sample(VALUES[valued], 2)
    words = {
        key: predicate(valued, value, plural=True) for key, value in (("value", first), ("value2", second))
    }
    text = written(form.template, rng, many=base, **words)
    either = (select((*base, (valued, first))), select((*base, (valued, second))))
    return Draft(text, program(*either, ("unite", (0, 1)), ("count", (2,))))


def _count_not(view: View, form: Form, rng: random.Random) -> Draft | None:
    *names, valued = form.names
    base = view.at_random(rng, names)
    value = rng.choice(VALUES[valued])
    text = written(form.template, rng, many=base, value=predicate(valued, value, plural=True))
    return Draft(text, program(select(base), ("reject", (0,), {valued: value}), ("count", (1,))))


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

"""An answerer of the GQA-style questions that reads the English text and the boxes, nothing else.

It shares no code with the package: words and geometry are those of `english`, the sentence patterns its own.
"""

import re

from tests.scenes.english import ATTRIBUTE, NP, SIDE, VALUE, Answerer, UnclearError, value_of

PLACE = r"(left|right|top|bottom)"
THING = rf"the ({NP[1:-1]}(?: (?:{SIDE[1:-1]}|with the same (?:{ATTRIBUTE[1:-1]}) as) the {NP[1:-1]})?)"
THERE = r"(?:is there|are there|do you see|does the picture show)"
A = r"(?:an? |any )?"
OR = r"(?:,)? "


class GqaAnswerer(Answerer):
    """Answers about one image, in GQA's words."""

    def resolve(self, words: str) -> dict:
        found = re.fullmatch(rf"{NP}(?: {SIDE} the {NP})?", words)
        if found:
            phrase, side, origin = found.groups()
            fitting = self.beside(phrase, side, self.unique(origin)) if side else self.fitting(phrase)
        else:
            phrase, name, origin = re.fullmatch(
                rf"{NP} with the same {ATTRIBUTE} as the {NP}", words
            ).groups()
            fitting = self.sharing(name, origin, phrase)
        if len(fitting) != 1:
            raise UnclearError(f"{words!r} fits {len(fitting)}")
        return fitting[0]

    def sharing(self, name: str, origin: str, phrase: str = "thing") -> list[dict]:
        one = self.unique(origin)
        return [t for t in self.fitting(phrase) if t is not one and t[name] == one[name]]

    def shape_sharing(self, name: str, origin: str) -> str:
        (found,) = self.sharing(name, origin)
        return found["shape"]

    def place_of(self, words: str, axis: int) -> str:
        share = self.resolve(words)["xy"][axis] / self.side[axis]
        if abs(share - 0.5) < 0.06:
            raise UnclearError("in the middle")
        return (("left", "right"), ("top", "bottom"))[axis][share > 0.5]

    def is_at(self, words: str, place: str) -> bool:
        return self.place_of(words, 0 if place in ("left", "right") else 1) == place

    def has_value(self, words: str, value: str) -> bool:
        name, wanted = value_of(value)
        return self.resolve(words)[name] == wanted

    def which_value(self, words: str, first: str, second: str) -> str:
        (name, value), (name2, value2) = value_of(first), value_of(second)
        assert name == name2
        found = self.resolve(words)[name]
        assert found in (value, value2)
        return found

    def which_half(self, words: str, first: str, second: str) -> str:
        found = self.place_of(words, 0 if first in ("left", "right") else 1)
        assert {first, second} in ({"left", "right"}, {"top", "bottom"})
        return found

    def which_side(self, words: str, first: str, second: str, origin: str) -> str:
        assert {first, second} == {"left", "right"}
        return "left" if self.lies_on_side(self.resolve(words), "left of", self.resolve(origin)) else "right"

    def shape_beside(self, side: str, origin: str) -> str:
        (found,) = self.beside("thing", side, self.unique(origin))
        return found["shape"]

    def compare_attribute(self, first: str, second: str, name: str, same: bool) -> bool:
        one, other = self.resolve(first), self.resolve(second)
        assert one is not other
        return (one[name] == other[name]) == same

    def all_same(self, phrase: str, name: str, same: bool) -> bool:
        values = [t[name] for t in self.fitting(phrase)]
        assert len(values) > 1
        return (len(set(values)) == 1) == same

    def larger(self, first: str, second: str) -> str:
        one, other = self.resolve(first), self.resolve(second)
        assert max(one["long"], other["long"]) >= 1.2 * min(one["long"], other["long"])
        assert one["shape"] != other["shape"]
        return max(one, other, key=lambda t: t["long"])["shape"]

    def some_has_values(self, phrase: str, *values: str) -> bool:
        """Whether one of these objects, of which a full answer means one, has all the values."""
        wanted = [value_of(value) for value in values]
        return any(all(t[name] == value for name, value in wanted) for t in self.fitting(phrase))

    def some_is_at_place(self, phrase: str, place: str) -> bool:
        axis, high = {"left": (0, False), "right": (0, True), "top": (1, False), "bottom": (1, True)}[place]
        return any((t["xy"][axis] / self.side[axis] > 0.5) == high for t in self.fitting(phrase))

    def is_true(self, full_answer: str) -> bool:
        text = full_answer.lower().removeprefix("yes, ").removeprefix("no, ").rstrip(".")
        for pattern, check in FULL_ANSWERS:
            found = re.fullmatch(pattern, text)
            if found:
                return check(self, *found.groups())
        raise AssertionError(f"not understood: {full_answer}")

    def gqa_answer(self, question: str) -> str:
        text = question.lower().rstrip("?").strip()
        for pattern, method in PATTERNS:
            found = re.fullmatch(pattern, text)
            if found:
                result = method(self, *found.groups())
                return {True: "yes", False: "no"}[result] if isinstance(result, bool) else result
        raise AssertionError(f"not understood: {question}")


def _without(text: str) -> str:
    """A pattern without its groups."""
    return re.sub(r"\((?!\?)", "(?:", text)


_V = VALUE
PATTERNS = [
    # the whole picture
    (rf"what is the most common {ATTRIBUTE} in the picture", Answerer.most_common),
    (rf"which {ATTRIBUTE} is the most common", Answerer.most_common),
    (
        rf"(?:which {_without(ATTRIBUTE)} is the most common,|is the most common {_without(ATTRIBUTE)}) "
        rf"{_V} or {_V}",
        lambda s, v, w: s.most_common(value_of(v)[0]),
    ),
    (rf"is {_V} the most common {ATTRIBUTE}", lambda s, v, n: s.most_common(n) == value_of(v)[1]),
    (rf"is the most common {ATTRIBUTE} {_V}", lambda s, n, v: s.most_common(n) == value_of(v)[1]),
    # two things
    (rf"which (?:is larger|one is bigger), {THING} or {THING}", GqaAnswerer.larger),
    (
        rf"do {THING} and {THING} have the same {ATTRIBUTE}",
        lambda s, a, b, n: s.compare_attribute(a, b, n, True),
    ),
    (
        rf"does {THING} have the same {ATTRIBUTE} as {THING}",
        lambda s, a, n, b: s.compare_attribute(a, b, n, True),
    ),
    (
        rf"are both {THING} and {THING} the same {ATTRIBUTE}",
        lambda s, a, b, n: s.compare_attribute(a, b, n, True),
    ),
    (
        rf"do {THING} and {THING} have different {ATTRIBUTE}s",
        lambda s, a, b, n: s.compare_attribute(a, b, n, False),
    ),
    (
        rf"does {THING} have a different {ATTRIBUTE} than {THING}",
        lambda s, a, n, b: s.compare_attribute(a, b, n, False),
    ),
    (rf"are both {THING} and {THING} {_V}", lambda s, a, b, v: s.has_value(a, v) and s.has_value(b, v)),
    (rf"is {THING} to the {PLACE} or to the {PLACE} of {THING}", GqaAnswerer.which_side),
    (
        rf"on which side of {THING} is {THING}, {PLACE} or {PLACE}",
        lambda s, origin, a, p, q: s.which_side(a, p, q, origin),
    ),
    # all of a kind
    (rf"do all the {NP} have the same {ATTRIBUTE}", lambda s, p, n: s.all_same(p, n, True)),
    (rf"are all the {NP} the same {ATTRIBUTE}", lambda s, p, n: s.all_same(p, n, True)),
    (rf"do the {NP} have different {ATTRIBUTE}s", lambda s, p, n: s.all_same(p, n, False)),
    (rf"do the {NP} differ in {ATTRIBUTE}", lambda s, p, n: s.all_same(p, n, False)),
    # places
    (rf"on (?:which|what) side of the picture is {THING}", lambda s, t: s.place_of(t, 0)),
    (rf"is {THING} (?:on|in|at) the {PLACE}(?: side| half)? of the picture", GqaAnswerer.is_at),
    (
        rf"is {THING} (?:on|at) the {PLACE} or (?:on|at) the {PLACE}(?: of the picture)?",
        GqaAnswerer.which_half,
    ),
    (
        rf"(?:on|in) which (?:side|half) of the picture is {THING}, the {PLACE} or the {PLACE}",
        GqaAnswerer.which_half,
    ),
    # one thing
    (
        rf"(?:is|what kind of object is|what is|what {_without(ATTRIBUTE)} is) {THING}{OR}{_V} or {_V}",
        GqaAnswerer.which_value,
    ),
    (
        rf"(?:is|does) {THING} (?:both |look )?{_V} and {_V}",
        lambda s, t, v, w: s.has_value(t, v) and s.has_value(t, w),
    ),
    (rf"(?:is|does|is it true that) {THING} (?:look |is )?{_V}", GqaAnswerer.has_value),
    (
        rf"(?:is|is it true that) {THING} (?:is )?{SIDE} {THING}",
        lambda s, a, side, b: s.lies_on_side(s.resolve(a), side, s.resolve(b)),
    ),
    (rf"how (?:big|large) is {THING}", lambda s, t: s.resolve(t)["size"]),
    (rf"how is {THING} filled", lambda s, t: s.resolve(t)["fill"]),
    (rf"(?:what|which) {ATTRIBUTE} is {THING}", lambda s, n, t: s.resolve(t)[n]),
    (rf"what is the {ATTRIBUTE} of {THING}", lambda s, n, t: s.resolve(t)[n]),
    (rf"which {ATTRIBUTE} does {THING} have", lambda s, n, t: s.resolve(t)[n]),
    (
        rf"(?:what has|which object has|what is) the same {ATTRIBUTE} as the {NP}",
        GqaAnswerer.shape_sharing,
    ),
    (rf"what (?:is|kind of object is|shape is) {THING}(?: called)?", lambda s, t: s.resolve(t)["shape"]),
    (rf"(?:what|which object) is {SIDE} the {NP}", GqaAnswerer.shape_beside),
    # existence
    (rf"{THERE} {A}{NP} (?:that|which) (?:is|are) not {_V}", lambda s, p, v: bool(s.without(p, v))),
    (
        rf"{THERE} {A}{NP} that (?:is|are) {_V}",
        lambda s, p, v: any(t[value_of(v)[0]] == value_of(v)[1] for t in s.fitting(p)),
    ),
    (
        rf"{THERE} {A}{NP} {SIDE} the {NP}",
        lambda s, p, side, o: bool(s.beside(p, side, s.unique(o))),
    ),
    (
        rf"{THERE} (?:both )?{A}{NP} and (?:also )?{A}{NP}",
        lambda s, a, b: bool(s.fitting(a)) and bool(s.fitting(b)),
    ),
    (rf"{THERE} (?:either )?{A}{NP} or {A}{NP}", lambda s, a, b: bool(s.fitting(a)) or bool(s.fitting(b))),
    (rf"{THERE} {A}{NP}(?: in the picture)?", lambda s, p: bool(s.fitting(p))),
]

FULL_ANSWERS = [
    (rf"the most common {ATTRIBUTE} is (?:the )?([a-z]+)", lambda s, n, v: s.most_common(n) == v),
    (rf"the {NP} is (?:on|at) the {PLACE} of the picture", GqaAnswerer.some_is_at_place),
    (rf"the {NP} is {SIDE} {THING}", lambda s, p, side, o: bool(s.beside(p, side, s.resolve(o)))),
    (rf"{THING} is larger than {THING}", lambda s, a, b: s.resolve(a)["long"] > 1.2 * s.resolve(b)["long"]),
    (
        rf"both the {NP} and the {NP} are {_V}",
        lambda s, a, b, v: s.some_has_values(a, v) and s.some_has_values(b, v),
    ),
    (
        rf"the {NP} is {_V} and the {NP} is {_V}",
        lambda s, a, v, b, w: (
            s.some_has_values(a, v) and s.some_has_values(b, w) and value_of(v) != value_of(w)
        ),
    ),
    (rf"the {NP} is {_V}(?: and {_V})?", lambda s, p, v, w: s.some_has_values(p, *filter(None, (v, w)))),
    (rf"the {NP} have the same {ATTRIBUTE}", lambda s, p, n: s.all_same(p, n, True)),
    (rf"the {NP} have different {ATTRIBUTE}s", lambda s, p, n: s.all_same(p, n, False)),
    (rf"there is no {NP} that is not {_V}", lambda s, p, v: not s.without(p, v)),
    (rf"there is an? {NP} that is not {_V}", lambda s, p, v: bool(s.without(p, v))),
    (rf"there is no {NP} {SIDE} the {NP}", lambda s, p, side, o: not s.beside(p, side, s.unique(o))),
    (rf"there is an? {NP} {SIDE} the {NP}", lambda s, p, side, o: bool(s.beside(p, side, s.unique(o)))),
    (rf"there is no {NP} and no {NP}", lambda s, a, b: not s.fitting(a) and not s.fitting(b)),
    (rf"there is an? {NP} but no {NP}", lambda s, a, b: bool(s.fitting(a)) and not s.fitting(b)),
    (rf"there is an? {NP} and an? {NP}", lambda s, a, b: bool(s.fitting(a)) and bool(s.fitting(b))),
    (rf"there is no {NP}", lambda s, p: not s.fitting(p)),
    (rf"there is an? {NP}", lambda s, p: bool(s.fitting(p))),
]

"""An answerer of questions about scenes that reads the English text and the COCO records, nothing else.

It shares no code with the package: own words, own geometry, no programs. So it checks words, program,
answer and written boxes against each other.
"""

import math
import re

COLORS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "black"]
SHAPES = {"circle": "circles", "square": "squares", "triangle": "triangles"}
SHAPES |= {"star": "stars", "heart": "hearts", "cross": "crosses"}
ADJECTIVES = {color: ("color", color) for color in COLORS}
ADJECTIVES |= dict.fromkeys(("small", "little", "tiny"), ("size", "small"))
ADJECTIVES |= dict.fromkeys(("large", "big"), ("size", "large"))
ADJECTIVES |= dict.fromkeys(("solid", "filled"), ("fill", "solid"))
ADJECTIVES |= dict.fromkeys(("hollow", "empty"), ("fill", "hollow"))
ADJECTIVES |= {"striped": ("fill", "striped")}
NOUNS = {noun: None for word in ("thing", "object", "item") for noun in (word, word + "s")}
NOUNS |= {noun: shape for shape, plural in SHAPES.items() for noun in (shape, plural)}

NP = rf"((?:(?:{'|'.join(ADJECTIVES)}) )*(?:{'|'.join(sorted(NOUNS, key=len, reverse=True))}))"
VALUE = rf"((?:an? )?(?:{'|'.join([*ADJECTIVES, *sorted(NOUNS, key=len, reverse=True)])}))"
SIDE = r"(left of|to the left of|right of|to the right of|above|higher than|below|lower than)"
ATTRIBUTE = r"(color|shape|size|fill)"
SEE = r"(?:is there|are there|can you see|does the picture show|do you see)"
A = r"(?:an? |any )?"


class UnclearError(Exception):
    """The question has no answer or several."""


def constraints(phrase: str) -> dict[str, str]:
    *adjectives, noun = phrase.split()
    found = dict(ADJECTIVES[word] for word in adjectives)
    assert len(found) == len(adjectives)
    if NOUNS[noun]:
        found["shape"] = NOUNS[noun]
    return found


def value_of(words: str) -> tuple[str, str]:
    word = words.removeprefix("a ").removeprefix("an ")
    return ADJECTIVES[word] if word in ADJECTIVES else ("shape", NOUNS[word])


class Answerer:
    """Answers about one image.

    Args:
        image: the COCO image record.
        instances: the COCO annotations of that image.
        shapes: category id to name.
    """

    def __init__(self, image: dict, instances: list[dict], shapes: dict[int, str]) -> None:
        self.side = (image["width"], image["height"])
        self.things = []
        for instance in instances:
            x, y, w, h = instance["bbox"]
            thing = {"shape": shapes[instance["category_id"]], **instance["attributes"]}
            self.things.append({**thing, "xy": (x + w / 2, y + h / 2), "long": max(w, h)})

    def fitting(self, phrase: str) -> list[dict]:
        wanted = constraints(phrase)
        return [t for t in self.things if all(t[k] == v for k, v in wanted.items())]

    def unique(self, phrase: str) -> dict:
        found = self.fitting(phrase)
        if len(found) != 1:
            raise UnclearError(f"{phrase!r} fits {len(found)}")
        return found[0]

    def lies_on_side(self, thing: dict, side: str, origin: dict) -> bool:
        axis = 0 if "left" in side or "right" in side else 1
        difference = (thing["xy"][axis] - origin["xy"][axis]) / self.side[axis]
        if thing is origin or abs(difference) < 0.08:
            raise UnclearError("level")
        return difference < 0 if any(word in side for word in ("left", "above", "higher")) else difference > 0

    def beside(self, phrase: str, side: str, origin: dict) -> list[dict]:
        return [t for t in self.fitting(phrase) if t is not origin and self.lies_on_side(t, side, origin)]

    def answer(self, question: str) -> str:
        text = question.lower().rstrip("?.").strip()
        for pattern, method in PATTERNS:
            found = re.fullmatch(pattern, text)
            if found:
                result = method(self, *found.groups())
                return {True: "yes", False: "no"}[result] if isinstance(result, bool) else str(result)
        raise AssertionError(f"not understood: {question}")

    def distance_extreme(self, attribute: str, phrase: str, which: str, reference: str) -> str:
        origin = self.unique(reference)
        others = [t for t in self.fitting(phrase) if t is not origin]
        ranked = sorted((math.dist(t["xy"], origin["xy"]), k) for k, t in enumerate(others))
        if "far" in which or "fur" in which:
            ranked.reverse()
        (best, k), (second, _) = ranked[:2]
        if max(best, second) / min(best, second) < 1.15:
            raise UnclearError("about equally far")
        return others[k][attribute]

    def outermost(self, attribute: str, phrase: str, axis: int, sign: int) -> str:
        ranked = sorted(self.fitting(phrase), key=lambda t: sign * t["xy"][axis], reverse=True)
        if len(ranked) < 2 or abs(ranked[0]["xy"][axis] - ranked[1]["xy"][axis]) / self.side[axis] < 0.08:
            raise UnclearError("no clear first")
        return ranked[0][attribute]

    def extreme(self, attribute: str, which: str, phrase: str) -> str:
        ranked = sorted(
            self.fitting(phrase), key=lambda t: t["long"], reverse=which in ("largest", "biggest")
        )
        first, second = (t["long"] for t in ranked[:2])
        if max(first, second) / min(first, second) < 1.2:
            raise UnclearError("about the same size")
        return ranked[0][attribute]

    def compare_count(self, first: int, how: str, second: int) -> bool:
        return {
            "more": first > second,
            "greater than": first > second,
            "fewer": first < second,
            "smaller than": first < second,
            "as many": first == second,
            "the same as": first == second,
        }[how]

    def compare_size(self, first: str, how: str, second: str) -> bool:
        a, b = self.unique(first), self.unique(second)
        if a is b or max(a["long"], b["long"]) / min(a["long"], b["long"]) < 1.2:
            raise UnclearError("about the same size")
        return a["long"] < b["long"] if how == "smaller" else a["long"] > b["long"]

    def same_attribute(self, attribute: str, first: str, second: str) -> bool:
        a, b = self.unique(first), self.unique(second)
        if a is b:
            raise UnclearError("the same object")
        return a[attribute] == b[attribute]

    def half_of_image(self, phrase: str, axis: int) -> str:
        share = self.unique(phrase)["xy"][axis] / self.side[axis]
        if abs(share - 0.5) < 0.06:
            raise UnclearError("in the middle")
        return (("left", "right"), ("top", "bottom"))[axis][share > 0.5]

    def only_beside(self, attribute: str, phrase: str, side: str, reference: str) -> str:
        found = self.beside(phrase, side, self.unique(reference))
        if len(found) != 1:
            raise UnclearError(f"{len(found)} lie there")
        return found[0][attribute]

    def every_has_value(self, phrase: str, value: str) -> bool:
        name, wanted = value_of(value)
        found = self.fitting(phrase)
        if len(found) < 2:
            raise UnclearError("every of fewer than two")
        return all(t[name] == wanted for t in found)

    def without(self, phrase: str, value: str) -> list[dict]:
        name, wanted = value_of(value)
        return [t for t in self.fitting(phrase) if t[name] != wanted]

    def count_with_either_value(self, phrase: str, value: str, value2: str) -> int:
        values = [value_of(value), value_of(value2)]
        return sum(any(t[name] == wanted for name, wanted in values) for t in self.fitting(phrase))

    def most_common(self, attribute: str) -> str:
        values = [t[attribute] for t in self.things]
        times = sorted((values.count(value) for value in set(values)), reverse=True)
        if len(times) < 2 or times[0] == times[1]:
            raise UnclearError("a tie")
        return max(set(values), key=values.count)


_WHAT = [
    rf"what {ATTRIBUTE} is the %s",
    rf"what is the {ATTRIBUTE} of the %s",
    rf"which {ATTRIBUTE} does the %s have",
]
_HOW_MANY = rf"(?:how many|what is the number of|count the) {NP}"
_IS = r"(?:is|does|is it true that) the"
_OUTERMOST = [
    (rf"leftmost {NP}", 0, -1),
    (rf"{NP} farthest to the left", 0, -1),
    (rf"rightmost {NP}", 0, 1),
    (rf"{NP} farthest to the right", 0, 1),
    (rf"(?:topmost|highest) {NP}", 1, -1),
    (rf"{NP} at the very top", 1, -1),
    (rf"lowest {NP}", 1, 1),
    (rf"{NP} lowest in the picture", 1, 1),
    (rf"{NP} at the very bottom", 1, 1),
]
_DISTANCE = r"(nearest to|closest to|farthest from|furthest from|farthest away from)"

PATTERNS = [
    *(
        (what % phrase, lambda s, a, p, axis=axis, sign=sign: s.outermost(a, p, axis, sign))
        for what in _WHAT
        for phrase, axis, sign in _OUTERMOST
    ),
    *((what % rf"(largest|biggest|smallest) {NP}", Answerer.extreme) for what in _WHAT),
    *((what % rf"{NP} {_DISTANCE} the {NP}", Answerer.distance_extreme) for what in _WHAT),
    *((what % rf"{NP} {SIDE} the {NP}", Answerer.only_beside) for what in _WHAT),
    (
        rf"(?:are there|do you see) (more|fewer|as many) {NP} (?:than|as) {NP}",
        lambda s, how, a, b: s.compare_count(len(s.fitting(a)), how, len(s.fitting(b))),
    ),
    (
        rf"is the number of {NP} (greater than|smaller than|the same as) the number of {NP}",
        lambda s, a, how, b: s.compare_count(len(s.fitting(a)), how, len(s.fitting(b))),
    ),
    (rf"do the {NP} and the {NP} have the same {ATTRIBUTE}", lambda s, a, b, n: s.same_attribute(n, a, b)),
    (rf"does the {NP} have the same {ATTRIBUTE} as the {NP}", lambda s, a, n, b: s.same_attribute(n, a, b)),
    (rf"are the {NP} and the {NP} the same {ATTRIBUTE}", lambda s, a, b, n: s.same_attribute(n, a, b)),
    (rf"is the {ATTRIBUTE} of the {NP} the same as that of the {NP}", Answerer.same_attribute),
    (rf"{_IS} {NP} (?:is |look )?(larger|bigger|smaller) than the {NP}", Answerer.compare_size),
    (
        rf"{_IS} {NP} (?:is |lie )?{SIDE} the {NP}",
        lambda s, a, side, b: s.lies_on_side(s.unique(a), side, s.unique(b)),
    ),
    (rf"(?:is|is it true that) (?:every|each) {NP} (?:is )?{VALUE}", Answerer.every_has_value),
    (rf"{SEE} {A}{NP} (?:that|which) is not {VALUE}", lambda s, p, v: bool(s.without(p, v))),
    (
        rf"{SEE} (?:both )?{A}{NP} and (?:also )?{A}{NP}",
        lambda s, a, b: bool(s.fitting(a)) and bool(s.fitting(b)),
    ),
    (rf"{SEE} (?:either )?{A}{NP} or {A}{NP}", lambda s, a, b: bool(s.fitting(a)) or bool(s.fitting(b))),
    (rf"{SEE} {A}{NP}", lambda s, p: bool(s.fitting(p))),
    (rf"{_HOW_MANY} (?:are |that are )(?:either )?{VALUE} or {VALUE}", Answerer.count_with_either_value),
    (rf"{_HOW_MANY} (?:are |that are )not {VALUE}(?: are there)?", lambda s, p, v: len(s.without(p, v))),
    (rf"{_HOW_MANY} (?:are )?{SIDE} the {NP}", lambda s, p, side, o: len(s.beside(p, side, s.unique(o)))),
    (rf"{_HOW_MANY}(?: are there| can you see| does the picture show)?", lambda s, p: len(s.fitting(p))),
    (rf"(?:how is the {NP} filled)", lambda s, p: s.unique(p)["fill"]),
    (rf"what kind of fill does the {NP} have", lambda s, p: s.unique(p)["fill"]),
    (rf"is the {NP} solid, hollow or striped", lambda s, p: s.unique(p)["fill"]),
    (rf"is the {NP} small or large", lambda s, p: s.unique(p)["size"]),
    (rf"how big is the {NP}", lambda s, p: s.unique(p)["size"]),
    *((what % NP, lambda s, n, p: s.unique(p)[n]) for what in _WHAT),
    (rf"tell me the {ATTRIBUTE} of the {NP}", lambda s, n, p: s.unique(p)[n]),
    (
        rf"is the {NP} (?:on|in) the left or (?:on )?the right(?: half of the picture)?",
        lambda s, p: s.half_of_image(p, 0),
    ),
    (rf"on which side is the {NP}, left or right", lambda s, p: s.half_of_image(p, 0)),
    (
        rf"is the {NP} (?:at|in) the top or (?:at )?the bottom(?: half of the picture)?",
        lambda s, p: s.half_of_image(p, 1),
    ),
    (rf"in which half is the {NP}, top or bottom", lambda s, p: s.half_of_image(p, 1)),
    (rf"which {ATTRIBUTE} (?:is the most common|appears most often)", Answerer.most_common),
    (rf"what is the most common {ATTRIBUTE}", Answerer.most_common),
]

NUMBERS = dict(
    zip(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
        range(1, 11),
        strict=True,
    )
)
_NUMBER = rf"({'|'.join(NUMBERS)})"
_SHOWN = r"(?:there (?:is|are) |the picture shows (?:exactly )?|a picture with |you can see )?"


def caption_is_true(answerer: Answerer, caption: str) -> bool:
    """Whether a caption says nothing false; AssertionError where it is not understood."""
    text = caption.lower().rstrip(".")

    def some_pair(first: str, side: str, second: str) -> bool:
        assert constraints(first) != constraints(second)
        pairs = [(a, b) for a in answerer.fitting(first) for b in answerer.fitting(second) if a is not b]
        axis = 0 if "left" in side or "right" in side else 1
        sign = -1 if any(word in side for word in ("left", "above", "higher")) else 1
        return any(sign * (a["xy"][axis] - b["xy"][axis]) > 0 for a, b in pairs)

    def at(phrase: str, place: str) -> bool:
        axis, high = {"left": (0, False), "right": (0, True), "top": (1, False), "bottom": (1, True)}[place]
        shares = [t["xy"][axis] / answerer.side[axis] for t in answerer.fitting(phrase)]
        return any(share >= 0.65 - 1e-9 if high else share <= 0.35 for share in shares)

    def number(words: str, phrase: str) -> bool:
        return len(answerer.fitting(phrase)) == NUMBERS[words]

    def two_groups(words: str, first: str, words2: str, second: str) -> bool:
        return constraints(first) != constraints(second) and number(words, first) and number(words2, second)

    def two(first: str, second: str) -> bool:
        assert constraints(first) != constraints(second)
        both = [*answerer.fitting(first), *answerer.fitting(second)]
        return bool(answerer.fitting(first)) and bool(answerer.fitting(second)) and len(both) >= 2

    place = r"(left|right|top|bottom)"
    patterns = [
        (rf"{_SHOWN}an? {NP} (?:is |lies )?{SIDE} an? {NP}", some_pair),
        (rf"{_SHOWN}an? {NP} at the {place}(?: of the picture)?", at),
        (rf"at the {place} is an? {NP}", lambda p, phrase: at(phrase, p)),
        (rf"{_SHOWN}an? {NP} and (?:also )?an? {NP}", two),
        (rf"{_SHOWN}{_NUMBER} {NP} and {_NUMBER} {NP}", two_groups),
        (rf"{_SHOWN}{_NUMBER} {NP}", number),
    ]
    for pattern, check in patterns:
        found = re.fullmatch(pattern, text)
        if found:
            return check(*found.groups())
    raise AssertionError(f"not understood: {caption}")


_SINGULAR_NOUNS = {"thing", "object", "item", *SHAPES}
_SINGULAR = rf"(?:an?|one(?: more)?|every|each) {NP}"
_SEVERAL = "|".join([*list(NUMBERS)[1:], "how many", "number of", "count the", "any", "as many", "fewer"])
_PLURAL = rf"(?:{_SEVERAL}|all the|(?<!one )more) {NP}"
_DISAGREEING = (
    rf"there are one|there is (?:{_SEVERAL}) {NP}|(?:how many|number of|count the) .* an? \w+"
    # A thing has a fill and is of a colour, shape and size.
    rf"|(?:what|which) fill is|^are .* the same fill|is the same fill"
    rf"|that are (?:not )?an? \w+|that is (?:not )?(?:{'|'.join(SHAPES)})s?"
)


def grammar_faults(text: str) -> list[str]:
    """Wrong articles, and nouns and verbs in the wrong number."""
    text = text.lower()
    faults = [
        found[0]
        for found in re.finditer(r"\b(an?) (\w)", text)
        if (found[1] == "an") != (found[2] in "aeiou")
    ]
    for pattern, is_singular in ((_SINGULAR, True), (_PLURAL, False)):
        faults += [
            found[0]
            for found in re.finditer(rf"\b{pattern}\b", text)
            if (found[1].split()[-1] in _SINGULAR_NOUNS) != is_singular
        ]
    return faults + [found[0] for found in re.finditer(rf"\b(?:{_DISAGREEING})\b", text)]

"""A judge of sentences about two pictures that reads the English text and the boxes, nothing else.

It shares no code with the package: words are those of `english`, the sentence patterns its own.
"""

import re

from tests.scenes.english import ATTRIBUTE, NP, VALUE, Answerer, value_of

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
NUMBER = rf"({'|'.join(NUMBERS)})"
THIS = r"(left|right)"
ANY = r"(?:an? |any |at least one )?"


class Judge:
    """Says whether a sentence is true of a left and a right picture."""

    def __init__(self, left: Answerer, right: Answerer) -> None:
        self.pictures = {"left": left, "right": right}

    def counts(self, phrase: str) -> tuple[int, int]:
        return tuple(len(picture.fitting(phrase)) for picture in self.pictures.values())

    def count_in_image(self, side: str, phrase: str) -> int:
        return len(self.pictures[side].fitting(phrase))

    def contains(self, phrase: str) -> list[bool]:
        return [count > 0 for count in self.counts(phrase)]

    def has_more(self, side: str, phrase: str, other: str, least: int = 1, most: int = 99) -> bool:
        assert {side, other} == {"left", "right"}
        return least <= self.count_in_image(side, phrase) - self.count_in_image(other, phrase) <= most

    def has_twice(self, side: str, phrase: str, other: str) -> bool:
        assert {side, other} == {"left", "right"}
        few = self.count_in_image(other, phrase)
        return few > 0 and self.count_in_image(side, phrase) / few == 2

    def same_attribute(self, name: str, first: str, second: str) -> bool:
        return self.pictures["left"].unique(first)[name] == self.pictures["right"].unique(second)[name]

    def all_are(self, phrase: str, value: str) -> bool:
        name, wanted = value_of(value)
        assert all(len(picture.fitting(phrase)) > 1 for picture in self.pictures.values())
        return all(t[name] == wanted for picture in self.pictures.values() for t in picture.fitting(phrase))

    def same_most_common(self, name: str) -> bool:
        left, right = (picture.most_common(name) for picture in self.pictures.values())
        return left == right

    def is_true(self, sentence: str) -> bool:
        text = sentence.lower()
        assert text.endswith(".")
        for pattern, method in PATTERNS:
            found = re.fullmatch(pattern, text[:-1])
            if found:
                return method(self, *found.groups())
        raise AssertionError(f"not understood: {sentence}")


def _number(word: str) -> int:
    return NUMBERS.index(word)


PATTERNS = [
    (
        rf"there are as many {NP} in the left image as in the right image",
        lambda s, p: len(set(s.counts(p))) == 1,
    ),
    (rf"both images contain the same number of {NP}", lambda s, p: len(set(s.counts(p))) == 1),
    (rf"the number of {NP} is the same in both images", lambda s, p: len(set(s.counts(p))) == 1),
    (
        rf"(?:there are exactly|the two images contain a total of) {NUMBER} {NP}"
        r"(?: in the two images together)?",
        lambda s, n, p: sum(s.counts(p)) == _number(n),
    ),
    (rf"there are {NUMBER} {NP} in total", lambda s, n, p: sum(s.counts(p)) == _number(n)),
    (
        rf"the two images contain a total of at least {NUMBER} {NP}",
        lambda s, n, p: sum(s.counts(p)) >= _number(n),
    ),
    (
        rf"there are at least {NUMBER} {NP} in the two images together",
        lambda s, n, p: sum(s.counts(p)) >= _number(n),
    ),
    (rf"the {THIS} image contains twice as many {NP} as the {THIS} image", Judge.has_twice),
    (
        rf"there are twice as many {NP} in the {THIS} image as in the {THIS} image",
        lambda s, p, a, b: s.has_twice(a, p, b),
    ),
    (
        rf"the {THIS} image contains exactly {NUMBER} more {NP} than the {THIS} image",
        lambda s, a, n, p, b: s.has_more(a, p, b, _number(n), _number(n)),
    ),
    (
        rf"there is exactly one {NP} more in the {THIS} image than in the {THIS} image",
        lambda s, p, a, b: s.has_more(a, p, b, 1, 1),
    ),
    (
        rf"there are exactly {NUMBER} more {NP} in the {THIS} image than in the {THIS} image",
        lambda s, n, p, a, b: s.has_more(a, p, b, _number(n), _number(n)),
    ),
    (
        rf"the {THIS} image contains (more|fewer) {NP} than the {THIS} image",
        lambda s, a, how, p, b: s.has_more(a, p, b) if how == "more" else s.has_more(b, p, a),
    ),
    (
        rf"there are (more|fewer) {NP} in the {THIS} image than in the {THIS} image",
        lambda s, how, p, a, b: s.has_more(a, p, b) if how == "more" else s.has_more(b, p, a),
    ),
    (
        rf"(?:exactly|only) one of the (?:two )?images contains {ANY}{NP}",
        lambda s, p: sum(s.contains(p)) == 1,
    ),
    (rf"one image contains {ANY}{NP} and the other does not", lambda s, p: sum(s.contains(p)) == 1),
    (
        rf"either both images contain {ANY}{NP} or neither of them does",
        lambda s, p: sum(s.contains(p)) in (0, 2),
    ),
    (rf"both images contain {ANY}{NP}, or neither of them does", lambda s, p: sum(s.contains(p)) in (0, 2)),
    (
        rf"the {NP} in the left image has the same {ATTRIBUTE} as the {NP} in the right image",
        lambda s, a, n, b: s.same_attribute(n, a, b),
    ),
    (
        rf"the {NP} in the left image and the {NP} in the right image have the same {ATTRIBUTE}",
        lambda s, a, b, n: s.same_attribute(n, a, b),
    ),
    (
        rf"the {NP} in the left image has a different {ATTRIBUTE} than the {NP} in the right image",
        lambda s, a, n, b: not s.same_attribute(n, a, b),
    ),
    (
        rf"the {NP} in the left image and the {NP} in the right image have different {ATTRIBUTE}s",
        lambda s, a, b, n: not s.same_attribute(n, a, b),
    ),
    (rf"the most common {ATTRIBUTE} is the same in both images", Judge.same_most_common),
    (rf"both images have the same most common {ATTRIBUTE}", Judge.same_most_common),
    (rf"both images contain {ANY}{NP}", lambda s, p: all(s.contains(p))),
    (rf"there is {ANY}{NP} in each image", lambda s, p: all(s.contains(p))),
    (rf"each of the two images shows {ANY}{NP}", lambda s, p: all(s.contains(p))),
    (rf"neither image contains {ANY}{NP}", lambda s, p: not any(s.contains(p))),
    (rf"there is no {NP} in either image", lambda s, p: not any(s.contains(p))),
    (rf"neither of the images shows {ANY}{NP}", lambda s, p: not any(s.contains(p))),
    (rf"at least one of the images contains {ANY}{NP}", lambda s, p: any(s.contains(p))),
    (rf"there is {ANY}{NP} in at least one of the images", lambda s, p: any(s.contains(p))),
    (
        rf"each image contains exactly {NUMBER} {NP}",
        lambda s, n, p: s.counts(p) == (_number(n), _number(n)),
    ),
    (
        rf"there are exactly {NUMBER} {NP} in each image",
        lambda s, n, p: s.counts(p) == (_number(n), _number(n)),
    ),
    (rf"all of the {NP} in both images are {VALUE}", Judge.all_are),
    (rf"in both images every one of the {NP} is {VALUE}", Judge.all_are),
]

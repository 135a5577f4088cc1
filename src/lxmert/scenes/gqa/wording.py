"""Words of questions and full answers, with the places of objects in them.

GQA's `annotations` map a word, or a slice of words, to an object: places are indices of words separated by
spaces, "3" is one word, "3:5" are the words 3 and 4.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lxmert.scenes.describing import Description, phrase
from lxmert.scenes.gqa.things import SAME, Picture, Thing
from lxmert.scenes.lexicon import RELATIONS, WORDS, with_article
from lxmert.scenes.questions.family import predicate

Words = Sequence[tuple[str, str | None]]
"""Pieces of text, each with the id of the object it stands for, if any."""
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class Worded(NamedTuple):
    """A sentence, and the ids of objects by the places of their words."""

    text: str
    places: dict[str, str]


def worded(template: str, fillers: Mapping[str, Words | str]) -> Worded:
    """Fill a template with words; the first letter of the sentence is capitalised."""
    parts = _PLACEHOLDER.split(template)
    pieces: list[tuple[str, str | None]] = []
    for number, part in enumerate(parts):
        filler = fillers[part] if number % 2 else part
        if isinstance(filler, str):
            pieces.append((filler, None))
            continue
        for k, piece in enumerate(filler):
            pieces.extend([(" ", None), piece] if k else [piece])
    text, places = "", {}
    for piece, object_id in pieces:
        if object_id is not None:
            first = len(text.split())
            length = len(piece.split())
            places[f"{first}:{first + length}" if length > 1 else str(first)] = object_id
        text += piece
    return Worded(text[0].upper() + text[1:], places)


class Wording:
    """Chooses words for things of one picture.

    Args:
        picture: The picture of the things.
        rng: Source of randomness for synonyms, generic nouns and names of relations.
    """

    def __init__(self, picture: Picture, rng: random.Random) -> None:
        self._picture = picture
        self._rng = rng

    def the(self, thing: Thing, *, relation: bool = True) -> Words:
        """'the red star', or 'the red star to the left of the heart'."""
        object_id = self._picture.id(self._picture.find(thing))
        words = [("the", None), (phrase(thing.description, self._rng), object_id)]
        if relation and thing.relation is not None:
            words += [(self.side(thing.relation), None), *self.the(Thing(thing.origin))]
        return words

    def one(self, description: Description) -> Words:
        """'red star'; the words stand for the first such object, if there is one."""
        return [(phrase(description, self._rng), self._picture.first_id(description))]

    def a(self, description: Description) -> Words:
        """'a red star'."""
        ((words, object_id),) = self.one(description)
        return [(with_article(words).split(" ")[0], None), (words, object_id)]

    def many(self, description: Description) -> Words:
        """'red stars'."""
        return [(phrase(description, self._rng, plural=True), self._picture.first_id(description))]

    def side(self, relation: str) -> str:
        """'left of', 'higher than', 'with the same color as'."""
        if relation.startswith(SAME):
            return f"with the {relation} as"
        return self._rng.choice(RELATIONS[relation])

    def value(self, name: str, value: str) -> str:
        """A value after "is", perhaps as a synonym: 'red', 'big', 'a star'."""
        return predicate(name, self._rng.choice(WORDS.get(value, (value,))))

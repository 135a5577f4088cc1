"""Words of questions and full answers, with the places of objects in them.

GQA's `annotations` map a word, or a slice of words, to an object: places are indices of words separated by
spaces, "3" is one word, "3:5" are the words 3 and 4.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lxmert.scenes.gqa.references import SAME, GqaScene, ObjectReference
from lxmert.scenes.lexicon import RELATIONS, WORDS, with_article
from lxmert.scenes.object_descriptions import Description, phrase
from lxmert.scenes.questions.family import predicate
from lxmert.scenes.world import SceneObject

TextPieces = Sequence[tuple[str, str | None]]
"""Pieces of text, each with the id of the object it stands for, if any."""
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class AnnotatedText(NamedTuple):
    """A sentence, and the ids of objects by the places of their words."""

    text: str
    places: dict[str, str]


def fill_annotated(template: str, fillers: Mapping[str, TextPieces | str]) -> AnnotatedText:
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
    return AnnotatedText(text[0].upper() + text[1:], places)


class Wording:
    """Chooses words for the objects of one picture.

    Args:
        gqa_scene: The picture of the objects.
        rng: Source of randomness for synonyms, generic nouns and names of relations.

    Attributes:
        gqa_scene: The picture of the objects.
    """

    def __init__(self, gqa_scene: GqaScene, rng: random.Random) -> None:
        self.gqa_scene = gqa_scene
        self._rng = rng

    def the(self, reference: ObjectReference, *, relation: bool = True) -> TextPieces:
        """'the red star', or 'the red star to the left of the heart'."""
        object_id = self.gqa_scene.object_id(self.gqa_scene.resolve(reference))
        words = [("the", None), (phrase(reference.description, self._rng), object_id)]
        if relation and reference.relation is not None:
            words += [(self.side(reference.relation), None), *self.the(ObjectReference(reference.origin))]
        return words

    def one(
        self, description: Description, among: Sequence[SceneObject] | None = None, *, plural: bool = False
    ) -> TextPieces:
        """'red star'; the words stand for the first of `among`, by default of all such objects.

        As in GQA, if there are no red stars by default, "star" stands for the first star of any colour.
        """
        words = phrase(description, self._rng, plural=plural)
        objects = self.gqa_scene.matching(description) if among is None else among
        if objects:
            return [(words, self.gqa_scene.object_id(objects[0]))]
        shape = tuple(pair for pair in description if pair[0] == "shape")
        others = self.gqa_scene.matching(shape) if among is None and shape else ()
        if not others:
            return [(words, None)]
        adjectives, _, noun = words.rpartition(" ")
        return [(adjectives, None), (noun, self.gqa_scene.object_id(others[0]))]

    def a(self, description: Description, among: Sequence[SceneObject] | None = None) -> TextPieces:
        """'a red star'."""
        pieces = self.one(description, among)
        return [(with_article(pieces[0][0]).split(" ")[0], None), *pieces]

    def many(self, description: Description, among: Sequence[SceneObject] | None = None) -> TextPieces:
        """'red stars'."""
        return self.one(description, among, plural=True)

    def side(self, relation: str) -> str:
        """'left of', 'higher than', 'with the same color as'."""
        if relation.startswith(SAME):
            return f"with the {relation} as"
        return self._rng.choice(RELATIONS[relation])

    def value(self, name: str, value: str, *, plural: bool = False) -> str:
        """A value after "is" or "are", perhaps as a synonym: 'red', 'big', 'a star', 'stars'."""
        return predicate(name, self._rng.choice(WORDS.get(value, (value,))), plural=plural)

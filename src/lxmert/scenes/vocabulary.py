"""The words and the answers of the made world."""

import re
import string
from typing import Final

from lxmert.scenes import captions, genome
from lxmert.scenes.gqa.semantics import DIRECTIONS
from lxmert.scenes.gqa.templates import KINDS
from lxmert.scenes.lexicon import (
    ATTRIBUTES,
    GENERIC_NOUNS,
    NUMBER_WORDS,
    PLACES,
    PLURALS,
    RELATIONS,
    VALUES,
    WORDS,
)
from lxmert.scenes.pairs import templates as pairs
from lxmert.scenes.questions.generation import split_words
from lxmert.scenes.questions.templates import TEMPLATES
from lxmert.scenes.world import OBJECTS_MAX

_PLACEHOLDER: Final = re.compile(r"\{\w+\}")
SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def scene_vocabulary() -> list[str]:
    """The WordPiece vocabulary of the made world, lower case, indexed by id; always the same list.

    Special tokens, then single characters and their continuations (so that unknown words are spelled out and
    not lost), then every word that a VQA question, a caption or an answer may contain, then the
    further words of the GQA questions, the sentences about pairs and the phrases about regions.
    """
    letters = string.ascii_lowercase + string.digits
    characters = sorted(letters + string.punctuation)
    pieces = [*characters, *(f"##{character}" for character in characters)]
    known = [*SPECIAL_TOKENS, *pieces, *sorted(_words() - set(pieces))]
    return [*known, *sorted(_further_words() - set(known))]


def _words() -> set[str]:
    patterns = [text for variants in TEMPLATES.values() for texts in variants.values() for text in texts]
    patterns += [text for texts in captions.TEMPLATES.values() for text in texts]
    sentences = [_PLACEHOLDER.sub(" ", pattern) for pattern in patterns]
    sentences += [word for words in WORDS.values() for word in words]
    sentences += [side for sides in RELATIONS.values() for side in sides]
    sentences += [*GENERIC_NOUNS, *PLURALS, *PLURALS.values(), *NUMBER_WORDS, *ATTRIBUTES, *PLACES]
    sentences += ["a an", *answer_list()]
    return {word for sentence in sentences for word in split_words(sentence)}


def _further_words() -> set[str]:
    patterns = [text for kind in KINDS.values() for text in kind.templates]
    patterns += [text for texts in pairs.TEMPLATES.values() for text in texts]
    patterns += genome.TEMPLATES
    # Plurals of attributes, relations of GQA, and the words of full answers.
    patterns += [f"{name}s" for name in ATTRIBUTES]
    patterns += [*DIRECTIONS.values(), "with", "but", "of the picture", "most common", "larger than"]
    return {word for pattern in patterns for word in split_words(_PLACEHOLDER.sub(" ", pattern))}


def answer_list() -> list[str]:
    """All answers that questions can have, indexed by label; always the same list."""
    values = [value for name in ATTRIBUTES for value in VALUES[name]]
    numbers = [str(number) for number in range(OBJECTS_MAX + 1)]
    return ["yes", "no", *numbers, *values, *PLACES]

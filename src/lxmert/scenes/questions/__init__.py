"""Questions about made scenes, by a grammar, each with its program."""

from lxmert.scenes.questions.asking import FAMILIES, WORDS_MAX, ask, words_of
from lxmert.scenes.questions.family import Question

__all__ = ["FAMILIES", "WORDS_MAX", "Question", "ask", "words_of"]

"""Questions about made scenes, by a grammar, each with its program."""

from lxmert.scenes.questions.family import Question
from lxmert.scenes.questions.generation import FAMILIES, WORDS_MAX, generate_questions, split_words

__all__ = ["FAMILIES", "WORDS_MAX", "Question", "generate_questions", "split_words"]

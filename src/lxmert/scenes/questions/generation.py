"""Generating questions about a scene: a mix of families, each question clear, short and hard to guess.

A yes/no question is asked only if the same form (sentence pattern and kinds of attributes) can be filled with
either answer; a fair coin then decides between the two. So the words of the pattern reveal nothing about the
answer.
"""

import random
import re
from collections.abc import Sequence
from typing import Final

from lxmert.scenes.object_descriptions import SceneView
from lxmert.scenes.programs import AmbiguousProgramError, execute
from lxmert.scenes.questions import attributes, comparing, counting, existence, relations, superlatives
from lxmert.scenes.questions.family import Family, Form, Question
from lxmert.scenes.world import Scene

FAMILIES: Final[tuple[Family, ...]] = (
    *existence.FAMILIES,
    *counting.FAMILIES,
    *attributes.FAMILIES,
    *comparing.FAMILIES,
    *relations.FAMILIES,
    *superlatives.FAMILIES,
)
WORDS_MAX: Final = 18
"""Words and punctuation marks of a question: with [CLS] and [SEP] the 20 tokens of the paper."""
_MAX_FILLS: Final = 10
_MAX_ATTEMPTS_PER_QUESTION: Final = 60


def split_words(text: str) -> list[str]:
    """The words and punctuation marks of a text in lower case: its word pieces in the world's vocabulary."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def generate_questions(
    scene: Scene, rng: random.Random, n: int, families: Sequence[Family] = FAMILIES
) -> list[Question]:
    """Ask `n` different questions about a scene, of all families or of some.

    There are fewer only if a picture of few objects does not allow more (n in the hundreds).
    """
    view = SceneView(scene)
    weights = [family.weight for family in families]
    asked: dict[str, Question] = {}  # by program: synonyms make no second question
    for _ in range(_MAX_ATTEMPTS_PER_QUESTION * n):
        if len(asked) >= n:
            break
        family = rng.choices(families, weights=weights)[0]
        question = _balanced_question(view, family, rng)
        if question is not None:
            asked.setdefault(repr(question.program), question)
    return list(asked.values())


def _balanced_question(view: SceneView, family: Family, rng: random.Random) -> Question | None:
    form = family.form(rng)
    if family.answer_type != "yes/no":
        return _unambiguous_question(view, family, form, rng)
    by_answer: dict[str, Question] = {}
    for _ in range(2 * _MAX_FILLS):
        question = _unambiguous_question(view, family, form, rng, fills=1)
        if question is not None:
            by_answer.setdefault(question.answer, question)
            if len(by_answer) == 2:
                return by_answer[rng.choice(("yes", "no"))]
    return None


def _unambiguous_question(
    view: SceneView, family: Family, form: Form, rng: random.Random, fills: int = _MAX_FILLS
) -> Question | None:
    """A question of this form with exactly one correct answer; None if none was found."""
    for _ in range(fills):
        draft = family.fill(view, form, rng)
        if draft is None or len(split_words(draft.text)) > WORDS_MAX:
            continue
        try:
            answer = execute(draft.program, view.scene)
        except AmbiguousProgramError:
            continue
        return Question(draft.text, answer, family.name, family.answer_type, draft.program)
    return None

"""Generating GQA-style questions about a picture: balanced ones, and others whose answers they entail."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lxmert.scenes.gqa.following import following
from lxmert.scenes.gqa.makers import MAKERS, Maker
from lxmert.scenes.gqa.meaning import YES_NO, Meaning
from lxmert.scenes.gqa.semantics import Semantic, execute_semantic
from lxmert.scenes.gqa.templates import KINDS
from lxmert.scenes.gqa.things import Picture, Steps
from lxmert.scenes.gqa.wording import Worded, Wording, worded
from lxmert.scenes.programs import AmbiguousProgramError
from lxmert.scenes.questions.asking import WORDS_MAX, words_of

BALANCED: Final = 10
"""Balanced questions of an image."""
ENTAILED: Final = 8
"""Further, unbalanced questions of an image."""
_FILLS: Final = 20
_TRIES_PER_QUESTION: Final = 40


@dataclass(frozen=True)
class GqaQuestion:
    """A GQA-style question about one picture with its true answer.

    Attributes:
        asked: The question, such as "What color is the large star?", and the places of objects in it.
        kind: Key of `templates.KINDS`.
        meaning: Its meaning.
        semantic: The question as executable steps.
        answer: The result of executing the steps.
        full_answer: The answer as a sentence, and the places of objects in it.
        is_balanced: Whether it belongs to the balanced set, in which words reveal nothing about the answers.
    """

    asked: Worded
    kind: str
    meaning: Meaning
    semantic: Semantic
    answer: str
    full_answer: Worded
    is_balanced: bool

    @property
    def detailed(self) -> str:
        """GQA's `types.detailed`."""
        name = self.kind.partition(".")[0]
        return name + KINDS[self.kind].negative if self.answer == "no" else name


def ask_gqa(picture: Picture, rng: random.Random) -> list[GqaQuestion]:
    """Generate different questions about a picture, the balanced ones first.

    There are fewer only if a picture of few objects does not allow more.
    """
    asked: dict[str, GqaQuestion] = {}
    meanings: set[Meaning] = set()
    weights = [maker.weight for maker in MAKERS]
    for _ in range(_TRIES_PER_QUESTION * BALANCED):
        if len(asked) == BALANCED:
            break
        question = balanced_question(picture, rng.choices(MAKERS, weights=weights)[0], rng)
        if question is not None and question.meaning not in meanings:
            meanings.add(question.meaning)
            asked.setdefault(question.asked.text, question)
    for meaning in _in_turn(
        [following(question.meaning, question.answer, rng) for question in asked.values()]
    ):
        if len(asked) == BALANCED + ENTAILED:
            break
        question = realise(meaning, picture, rng, is_balanced=False)
        if question is not None:
            asked.setdefault(question.asked.text, question)
    return list(asked.values())


def _in_turn(lists: Sequence[Sequence[Meaning]]) -> Iterator[Meaning]:
    """Interleave lists: the first of each, then the second of each, and so on."""
    for round_ in itertools.zip_longest(*lists):
        yield from (meaning for meaning in round_ if meaning is not None)


def balanced_question(picture: Picture, maker: Maker, rng: random.Random) -> GqaQuestion | None:
    """A question whose pattern could have another answer with other fillers; None if there is none."""
    form = rng.choice(maker.forms)
    choice = rng.random(), rng.random()
    by_answer: dict[str, GqaQuestion] = {}
    for _ in range(_FILLS):
        try:
            meaning = maker.make(picture, rng, form)
        except AmbiguousProgramError:
            continue
        question = realise(meaning, picture, rng, choice) if meaning is not None else None
        if question is None:
            continue
        if question.answer not in YES_NO:
            return question
        by_answer.setdefault(question.answer, question)
        if len(by_answer) == 2:
            return by_answer[rng.choice(YES_NO)]
    return None


def realise(
    meaning: Meaning,
    picture: Picture,
    rng: random.Random,
    choice: tuple[float, float] | None = None,
    *,
    is_balanced: bool = True,
) -> GqaQuestion | None:
    """Express a meaning in words and answer it; None if it has no clear answer or needs too many words.

    Args:
        meaning: The meaning.
        picture: The picture.
        rng: Source of randomness.
        choice: Which of its kinds and which of their templates, each in 0..1; at random by default.
        is_balanced: As in `GqaQuestion`.
    """
    steps = Steps(picture)
    try:
        meaning.write(steps)
        answer = execute_semantic(steps.done(), picture.scene)
    except AmbiguousProgramError:
        return None
    kind_choice, template_choice = choice or (rng.random(), rng.random())
    kind = meaning.kinds[int(kind_choice * len(meaning.kinds))]
    templates = KINDS[kind].templates
    wording = Wording(picture, rng)
    asked = worded(templates[int(template_choice * len(templates))], meaning.fillers(wording))
    if len(words_of(asked.text)) > WORDS_MAX:
        return None
    full_answer = meaning.full_answer(answer, picture, wording)
    return GqaQuestion(asked, kind, meaning, steps.done(), answer, full_answer, is_balanced)

"""Generating GQA-style questions about a picture: balanced ones, and others whose answers they entail."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lxmert.scenes.gqa.entailment import entailed_meanings
from lxmert.scenes.gqa.meaning import YES_NO, Meaning
from lxmert.scenes.gqa.references import GqaScene, ProgramBuilder
from lxmert.scenes.gqa.samplers import SAMPLERS, MeaningSampler
from lxmert.scenes.gqa.semantics import Semantic, execute_semantic
from lxmert.scenes.gqa.templates import KINDS
from lxmert.scenes.gqa.wording import AnnotatedText, Wording, fill_annotated
from lxmert.scenes.programs import AmbiguousProgramError
from lxmert.scenes.questions.family import usable_templates
from lxmert.scenes.questions.generation import WORDS_MAX, split_words

BALANCED: Final = 10
"""Balanced questions of an image."""
ENTAILED: Final = 8
"""Further, unbalanced questions of an image."""
_MAX_FILLS: Final = 20
_MAX_ATTEMPTS_PER_QUESTION: Final = 40


@dataclass(frozen=True)
class GqaQuestion:
    """A GQA-style question about one picture with its true answer.

    Attributes:
        wording: The question, such as "What color is the large star?", and the places of objects in it.
        kind: Key of `templates.KINDS`.
        meaning: Its meaning.
        semantic: The question as executable steps.
        answer: The result of executing the steps.
        full_answer: The answer as a sentence, and the places of objects in it.
        is_balanced: Whether it belongs to the balanced set, in which words reveal nothing about the answers.
    """

    wording: AnnotatedText
    kind: str
    meaning: Meaning
    semantic: Semantic
    answer: str
    full_answer: AnnotatedText
    is_balanced: bool

    @property
    def detailed(self) -> str:
        """GQA's `types.detailed`."""
        name = self.kind.partition(".")[0]
        return name + KINDS[self.kind].negative if self.answer == "no" else name


def generate_gqa_questions(gqa_scene: GqaScene, rng: random.Random) -> list[GqaQuestion]:
    """Generate different questions about a picture, the balanced ones first.

    There are fewer only if a picture of few objects does not allow more.
    """
    generated: dict[str, GqaQuestion] = {}
    meanings: set[Meaning] = set()
    weights = [sampler.weight for sampler in SAMPLERS]
    for _ in range(_MAX_ATTEMPTS_PER_QUESTION * BALANCED):
        if len(generated) == BALANCED:
            break
        question = balanced_question(gqa_scene, rng.choices(SAMPLERS, weights=weights)[0], rng)
        if question is not None and question.meaning not in meanings:
            meanings.add(question.meaning)
            generated.setdefault(question.wording.text, question)
    for meaning in _interleave(
        [entailed_meanings(question.meaning, question.answer, rng) for question in generated.values()]
    ):
        if len(generated) == BALANCED + ENTAILED:
            break
        question = realise(meaning, gqa_scene, rng, is_balanced=False)
        if question is not None:
            generated.setdefault(question.wording.text, question)
    return list(generated.values())


def _interleave(lists: Sequence[Sequence[Meaning]]) -> Iterator[Meaning]:
    """Interleave lists: the first of each, then the second of each, and so on."""
    for round_ in itertools.zip_longest(*lists):
        yield from (meaning for meaning in round_ if meaning is not None)


def balanced_question(gqa_scene: GqaScene, sampler: MeaningSampler, rng: random.Random) -> GqaQuestion | None:
    """A question whose pattern could have another answer with other fillers; None if there is none."""
    form = rng.choice(sampler.forms)
    choice = rng.random(), rng.random()
    by_answer: dict[str, GqaQuestion] = {}
    for _ in range(_MAX_FILLS):
        try:
            meaning = sampler.sample(gqa_scene, rng, form)
        except AmbiguousProgramError:
            continue
        question = realise(meaning, gqa_scene, rng, choice) if meaning is not None else None
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
    gqa_scene: GqaScene,
    rng: random.Random,
    choice: tuple[float, float] | None = None,
    *,
    is_balanced: bool = True,
) -> GqaQuestion | None:
    """Express a meaning in words and answer it; None if it has no clear answer or needs too many words.

    Args:
        meaning: The meaning.
        gqa_scene: The picture.
        rng: Source of randomness.
        choice: Which of its kinds and which of their templates, each in 0..1; at random by default.
        is_balanced: As in `GqaQuestion`.
    """
    program = ProgramBuilder(gqa_scene)
    try:
        meaning.add_steps(program)
        answer = execute_semantic(program.build(), gqa_scene.scene)
    except AmbiguousProgramError:
        return None
    kind_choice, template_choice = choice or (rng.random(), rng.random())
    kind = meaning.kinds[int(kind_choice * len(meaning.kinds))]
    wording = Wording(gqa_scene, rng)
    fillers = meaning.fillers(wording)
    templates = usable_templates(KINDS[kind].templates, has_quality="quality" in fillers)
    question_text = fill_annotated(templates[int(template_choice * len(templates))], fillers)
    if len(split_words(question_text.text)) > WORDS_MAX:
        return None
    full_answer = meaning.full_answer(answer, gqa_scene, wording)
    return GqaQuestion(question_text, kind, meaning, program.build(), answer, full_answer, is_balanced)

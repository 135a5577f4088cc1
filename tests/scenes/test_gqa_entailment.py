"""GQA entailment, checked on many scenes for each pair: entailed answers hold, others are mostly refuted."""

import random
import re
from collections import Counter
from dataclasses import replace

from lxmert.scenes import Scene, make_scene
from lxmert.scenes.gqa import GqaQuestion, execute_semantic
from lxmert.scenes.gqa.entailment import entailed_meanings, is_entailed, knowledge_from
from lxmert.scenes.gqa.generation import BALANCED, realise
from lxmert.scenes.gqa.records import question_records
from lxmert.scenes.lexicon import VALUES
from lxmert.scenes.programs import AmbiguousProgramError
from tests.scenes.conftest import AskedGqa

SCENES = [make_scene(random.Random(k)) for k in range(50)]


def small_scene(rng: random.Random, values: dict[str, list[str]]) -> Scene:
    """Few objects of few attributes: there even a long description often fits exactly one."""
    scene = rng.choice(SCENES)
    things = []
    for thing in rng.sample(scene.objects, min(len(scene.objects), rng.choice((2, 3, 3, 4)))):
        drawn = {name: rng.choice(values[name]) for name in ("color", "shape", "fill", "size")}
        x1, y1, _, _ = thing.box_xyxy_px
        side = 26 if drawn["size"] == "small" else 46
        things.append(replace(thing, **drawn, box_xyxy_px=(x1, y1, x1 + side, y1 + side)))
    return Scene(scene.size_hw, tuple(things), scene.background)


def values_named(rng: random.Random, *questions: GqaQuestion) -> dict[str, list[str]]:
    """For each attribute the values that the programs name, and others up to two at least."""
    words = " ".join(str(step) for question in questions for step in question.semantic)
    words += " ".join(question.answer for question in questions)
    named = {}
    for name, values in VALUES.items():
        found = [value for value in values if re.search(rf"\b{value}\b", words)]
        others = rng.sample([value for value in values if value not in found], len(values) - len(found))
        named[name] = [*found, *others[: max(1, 2 - len(found))]]
    return named


def answer_in(question: GqaQuestion, scene: Scene) -> str | None:
    try:
        return execute_semantic(question.semantic, scene)
    except AmbiguousProgramError:
        return None


def entailments(asked_gqa: AskedGqa) -> list[tuple[GqaQuestion, GqaQuestion]]:
    found = []
    for _, questions in asked_gqa:
        for first in questions:
            known = knowledge_from(first.meaning, first.answer)
            found += [
                (first, second)
                for second in questions
                if second is not first and is_entailed(second.meaning, second.answer, known)
            ]
    return found


def test_entailed_answers_hold_in_every_scene_in_which_the_first_answer_holds(asked_gqa: AskedGqa):
    rng = random.Random(0)
    pairs = entailments(asked_gqa)
    assert len(pairs) > 2000
    kinds = {(first.kind, second.kind): (first, second) for first, second in pairs}
    tested = Counter()
    for first, second in [*kinds.values(), *rng.sample(pairs, 150)]:
        values = values_named(rng, first, second)
        for _ in range(80):
            scene = small_scene(rng, values)
            if answer_in(first, scene) == first.answer:
                tested[first.kind] += 1
                assert answer_in(second, scene) == second.answer, (first, second, scene)
    assert tested.total() > 3000
    assert all(tested[first] > 0 for first, _ in kinds)


def test_most_pairs_that_are_not_entailed_are_refuted_by_some_scene(asked_gqa: AskedGqa):
    """Most pairs that `is_entailed` denies have a scene in which the second answer is wrong."""
    rng = random.Random(1)
    refuted = Counter()
    for _, questions in asked_gqa:
        first, second = rng.sample(questions, 2)
        if is_entailed(second.meaning, second.answer, knowledge_from(first.meaning, first.answer)):
            continue
        values = values_named(rng, first, second)
        seconds = Counter()
        for scene in (small_scene(rng, values) for _ in range(100)):
            if answer_in(first, scene) == first.answer:
                seconds[answer_in(second, scene)] += 1
        if seconds.total() - seconds[None] >= 8:
            refuted[seconds[second.answer] < seconds.total() - seconds[None]] += 1
    assert refuted.total() > 20
    assert refuted[True] / refuted.total() > 0.75


def test_questions_drawn_from_an_answer_are_entailed_by_it(asked_gqa: AskedGqa):
    rng = random.Random(2)
    compared = 0
    for picture, questions in asked_gqa[:80]:
        for question in questions[:BALANCED]:
            known = knowledge_from(question.meaning, question.answer)
            for meaning in entailed_meanings(question.meaning, question.answer, rng):
                drawn = realise(meaning, picture, rng, is_balanced=False)
                if drawn is not None:
                    assert is_entailed(meaning, drawn.answer, known), (question, drawn)
                    compared += 1
    assert compared > 2000


def test_most_but_not_all_balanced_questions_entail_other_questions(asked_gqa: AskedGqa):
    entailing = Counter()
    for picture, questions in asked_gqa[:150]:
        records = question_records(questions, picture, "image", 1)
        for record in records.values():
            if record["isBalanced"]:
                entailing[bool(record["entailed"])] += 1
    assert entailing[True] / entailing.total() > 0.7
    assert entailing[False] > 0


def test_equivalence_is_mutual_and_includes_the_question_itself(asked_gqa: AskedGqa):
    again = 0
    for picture, questions in asked_gqa:
        records = question_records(questions, picture, "image", 1)
        for question_id, record in records.items():
            assert question_id not in record["entailed"]
            assert record["equivalent"][0] == question_id
            for other in record["equivalent"]:
                assert question_id in records[other]["equivalent"]
                assert other == question_id or other in record["entailed"]
                again += other != question_id
            assert set(record["entailed"]) <= records.keys()
    assert again > 100

"""GQA-style questions: correct answers, short and varied wording, not predictable from the text alone."""

import json
import random
import re
from collections import Counter, defaultdict

from lxmert.scenes.gqa import execute_semantic
from lxmert.scenes.gqa.conjunctions import VerifyBoth
from lxmert.scenes.gqa.existence import ExistRelated, ExistTwo
from lxmert.scenes.gqa.generation import BALANCED, ENTAILED, balanced_question
from lxmert.scenes.gqa.records import guesses
from lxmert.scenes.gqa.relations import Larger
from lxmert.scenes.gqa.samplers import SAMPLERS
from lxmert.scenes.gqa.templates import KINDS
from tests.scenes.conftest import AskedGqa, answerer
from tests.scenes.english import ADJECTIVES, NOUNS, grammar_faults
from tests.scenes.gqa_english import GqaAnswerer


def test_every_answer_follows_from_the_words_and_the_boxes(asked_gqa: AskedGqa):
    for picture, questions in asked_gqa:
        reader = answerer(picture.scene, GqaAnswerer)
        for question in questions:
            assert reader.gqa_answer(question.wording.text) == question.answer, (question, picture.scene)


def test_every_answer_is_what_the_program_gives(asked_gqa: AskedGqa):
    for picture, questions in asked_gqa:
        for question in questions:
            assert execute_semantic(question.semantic, picture.scene) == question.answer


def test_full_answers_contain_the_answer_and_are_true(asked_gqa: AskedGqa):
    for picture, questions in asked_gqa:
        reader = answerer(picture.scene, GqaAnswerer)
        for question in questions:
            text = question.full_answer.text.lower()
            assert text.endswith(".")
            if question.answer in ("yes", "no"):
                assert text.startswith(f"{question.answer}, ")
            else:
                assert question.answer in re.findall(r"\w+", text)
            assert reader.is_true(text), (text, question)


def test_questions_are_short_distinct_and_never_about_counts(asked_gqa: AskedGqa):
    for _, questions in asked_gqa:
        texts = [question.wording.text for question in questions]
        assert len(set(texts)) == len(texts) == BALANCED + ENTAILED
        assert [question.is_balanced for question in questions] == [True] * BALANCED + [False] * ENTAILED
        for question in questions:
            assert len(re.findall(r"\w+|[^\w\s]", question.wording.text)) <= 18
            assert question.wording.text[0].isupper()
            assert question.wording.text.endswith("?")
            assert "how many" not in question.wording.text.lower()
            assert not question.answer.isdigit()


def test_articles_and_numbers_of_nouns_are_right(asked_gqa: AskedGqa):
    for _, questions in asked_gqa:
        for question in questions:
            for text in (question.wording.text, question.full_answer.text):
                assert not grammar_faults(text), text


def test_balanced_questions_of_a_picture_differ_in_meaning(asked_gqa: AskedGqa):
    for _, questions in asked_gqa:
        assert len({question.meaning for question in questions[:BALANCED]}) == BALANCED


def test_objects_are_not_described_by_the_attribute_in_question(asked_gqa: AskedGqa):
    checked = Counter()
    for _, questions in asked_gqa:
        for meaning in (question.meaning for question in questions[:BALANCED]):
            silent = {getattr(meaning, "name", None)}
            if isinstance(meaning, VerifyBoth):
                silent = {meaning.first[0], meaning.second[0]}
            elif isinstance(meaning, Larger):
                silent = {"size"}
            elif isinstance(meaning, ExistRelated):
                # 'Is there a star to the left of the star?' has one answer.
                assert not set(meaning.origin) <= set(meaning.description), meaning
                continue
            elif isinstance(meaning, ExistTwo):
                assert meaning.first != meaning.second
                continue
            for reference in meaning.references:
                assert not silent & {name for name, _ in reference.description}, meaning
                if (reference.relation or "").startswith("same "):
                    assert reference.relation.removeprefix("same ") not in dict(reference.origin), meaning
                checked[type(meaning).__name__] += 1
    assert min(checked.values()) > 20
    assert {"Query", "Verify", "Choose", "VerifyBoth", "VerifyTwo", "Same", "Larger"} <= set(checked)


def test_all_question_kinds_occur_in_all_their_templates(asked_gqa: AskedGqa):
    texts = defaultdict(list)
    for _, questions in asked_gqa:
        for question in questions:
            texts[question.kind].append(question.wording.text.lower())
    # Some kinds are rare.
    rng = random.Random(0)
    for maker in SAMPLERS:
        for _ in range(150):
            question = balanced_question(rng.choice(asked_gqa)[0], maker, rng)
            if question is not None:
                texts[question.kind].append(question.wording.text.lower())
    assert texts.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        for template in kind.templates:
            pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(template))
            assert any(re.fullmatch(pattern, text) for text in texts[name]), template


def test_question_types_and_operations_are_those_of_real_gqa(asked_gqa: AskedGqa, shared_data):
    real = json.loads((shared_data / "gqa" / "testdev_balanced_questions.json").read_text())
    known = {name: {record["types"][name] for record in real.values()} for name in ("structural", "semantic")}
    operations = {step["operation"] for record in real.values() for step in record["semantic"]}
    used = defaultdict(set)
    for _, questions in asked_gqa:
        for question in questions:
            used["structural"].add(KINDS[question.kind].structural)
            used["semantic"].add(KINDS[question.kind].semantic)
            used["operations"] |= {step.operation for step in question.semantic}
    assert used["structural"] == known["structural"]
    assert used["semantic"] == known["semantic"]
    own = {
        f"{verb} {what}"
        for verb in ("verify", "choose", "filter", "same", "different")
        for what in ("fill", "size", "name", "main color", "shape")
    }
    assert used["operations"] - operations <= own


# Language alone


def test_blind_guesses_are_right_at_most_half_of_the_time(asked_gqa: AskedGqa):
    counted = defaultdict(Counter)
    for _, questions in asked_gqa:
        for name, guessed in guesses(questions).items():
            counted[name].update(guessed)
    right = sum(max(guessed.values()) for guessed in counted.values())
    total = sum(guessed.total() for guessed in counted.values())
    assert total == len(asked_gqa) * BALANCED
    assert right / total < 0.49
    for name, guessed in counted.items():
        if set(guessed) <= {"yes", "no"} or set(guessed) <= {"first", "second"}:
            # Three and a half standard deviations of a fair coin.
            assert max(guessed.values()) < 0.5 * guessed.total() + 1.75 * guessed.total() ** 0.5 + 1, name


def test_wording_does_not_predict_yes_or_no(asked_gqa: AskedGqa):
    """Within each sentence pattern of balanced questions both answers are about equally frequent."""
    words = "|".join([*ADJECTIVES, *NOUNS])
    slots = re.compile(rf"\b(?:an? |the )?(?:(?:{words})\b ?)+")
    answers = defaultdict(Counter)
    for _, questions in asked_gqa:
        for question in questions:
            if question.is_balanced and question.answer in ("yes", "no"):
                answers[slots.sub("_ ", question.wording.text.lower())][question.answer] += 1
    common = {pattern: counted for pattern, counted in answers.items() if counted.total() >= 30}
    assert len(common) >= 6
    for pattern, counted in common.items():
        assert abs(counted["yes"] / counted.total() - 0.5) < 2 / counted.total() ** 0.5, (pattern, counted)


def test_answer_of_choose_question_is_first_or_second_option_equally_often(asked_gqa: AskedGqa):
    first = Counter()
    for _, questions in asked_gqa:
        for question in questions:
            if KINDS[question.kind].structural == "choose" and question.is_balanced:
                words = re.findall(r"\w+", question.wording.text.lower())
                said = [words.index(option) for option in question.meaning.choices("")[0]]
                first[words.index(question.answer) == min(said)] += 1
    assert first.total() > 150
    assert abs(first[True] / first.total() - 0.5) < 2 / first.total() ** 0.5

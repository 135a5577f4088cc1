"""Entailment between answers of GQA questions, in cases worked out by hand."""

import pytest

from lxmert.scenes.gqa.conjunctions import VerifyBoth, VerifyTwo
from lxmert.scenes.gqa.entailment import is_entailed, knowledge_from
from lxmert.scenes.gqa.existence import Exist, ExistNot, ExistRelated, ExistThat, ExistTwo
from lxmert.scenes.gqa.properties import Choose, Query, Verify
from lxmert.scenes.gqa.references import SCENE, ObjectReference
from lxmert.scenes.gqa.relations import AllSame, ChooseRelation, Larger, Same, VerifyRelation

S = (("shape", "star"),)
H = (("shape", "heart"),)
RED = (("color", "red"),)
RED_S = (("color", "red"), ("shape", "star"))
BLUE_S = (("color", "blue"), ("shape", "star"))
BIG_S = (("size", "large"), ("shape", "star"))
BIG_RED_S = (("size", "large"), ("color", "red"), ("shape", "star"))
STAR, HEART = ObjectReference(S), ObjectReference(H)
LEFT_ONE = ObjectReference(S, "left", H)
LEFT_HEART = ObjectReference(H, "left", S)
BIG_AND_RED = VerifyBoth(STAR, ("size", "large"), ("color", "red"))

ENTAILED = [
    (Query(STAR, "color"), "red", Verify(STAR, "color", "red"), "yes"),
    (Query(STAR, "color"), "red", Verify(STAR, "color", "blue"), "no"),
    (Query(STAR, "color"), "red", Choose(STAR, "color", "blue", "red"), "red"),
    (Query(STAR, "color"), "red", Exist(RED_S), "yes"),
    (Query(STAR, "color"), "red", Exist(RED), "yes"),
    (Query(STAR, "color"), "red", Exist(S), "yes"),
    (Query(STAR, "color"), "red", Exist(BLUE_S), "no"),
    (Query(STAR, "color"), "red", ExistThat(RED_S), "yes"),
    (Query(STAR, "color"), "red", ExistNot(S, "color", "red"), "no"),
    (Query(STAR, "color"), "red", ExistNot(S, "color", "blue"), "yes"),
    (Query(STAR, "color"), "red", VerifyBoth(STAR, ("color", "blue"), ("size", "large")), "no"),
    (Query(STAR, "color"), "red", VerifyBoth(STAR, ("size", "large"), ("color", "blue")), "no"),
    (Query(LEFT_HEART, "color"), "red", VerifyTwo(STAR, LEFT_HEART, "color", "blue"), "no"),
    (Query(STAR, "color"), "red", ExistTwo("or", BLUE_S, RED_S), "yes"),
    (Query(STAR, "color"), "red", ExistTwo("and", BLUE_S, H), "no"),
    (Query(ObjectReference(RED), "shape"), "star", Exist(RED_S), "yes"),
    (Query(ObjectReference(RED), "shape"), "star", Exist((("color", "red"), ("shape", "heart"))), "no"),
    (Query(LEFT_ONE, "color"), "red", ExistRelated(RED_S, "left", H), "yes"),
    (Query(LEFT_ONE, "color"), "red", ExistRelated(BLUE_S, "left", H), "no"),
    (Query(LEFT_ONE, "color"), "red", Exist(H), "yes"),
    (Query(LEFT_ONE, "hposition"), "left", ExistRelated(S, "left", H), "yes"),
    (Verify(LEFT_ONE, "color", "red"), "no", ExistRelated(RED_S, "left", H), "no"),
    (Query(SCENE, "main color"), "red", Verify(SCENE, "main color", "blue"), "no"),
    (Query(SCENE, "main color"), "red", Exist(RED), "yes"),
    (Query(STAR, "hposition"), "left", Verify(STAR, "hposition", "right"), "no"),
    (Verify(STAR, "hposition", "right"), "no", Query(STAR, "hposition"), "left"),
    (Verify(STAR, "size", "small"), "no", Query(STAR, "size"), "large"),
    (Verify(STAR, "color", "red"), "yes", Query(STAR, "color"), "red"),
    (Verify(STAR, "color", "red"), "no", Exist(RED_S), "no"),
    (Verify(STAR, "color", "red"), "no", Exist(BIG_RED_S), "no"),
    (Verify(STAR, "color", "red"), "no", ExistNot(S, "color", "red"), "yes"),
    (BIG_AND_RED, "yes", Verify(STAR, "color", "red"), "yes"),
    (BIG_AND_RED, "no", Exist(S), "yes"),
    (BIG_AND_RED, "no", VerifyBoth(STAR, ("color", "red"), ("size", "large")), "no"),
    (VerifyTwo(STAR, HEART, "color", "red"), "no", VerifyTwo(HEART, STAR, "color", "red"), "no"),
    (VerifyTwo(STAR, HEART, "color", "red"), "yes", Query(HEART, "color"), "red"),
    (Exist(RED_S), "yes", Exist(S), "yes"),
    (Exist(RED_S), "yes", ExistNot(S, "color", "blue"), "yes"),
    (Exist(S), "no", Exist(RED_S), "no"),
    (Exist(S), "no", ExistTwo("and", S, H), "no"),
    (ExistNot(S, "color", "red"), "no", Exist(BLUE_S), "no"),
    (ExistNot(S, "color", "red"), "no", ExistNot(BIG_S, "color", "red"), "no"),
    (ExistNot(S, "color", "red"), "yes", Exist(S), "yes"),
    (ExistTwo("and", S, H), "yes", Exist(H), "yes"),
    (ExistTwo("and", S, H), "no", ExistTwo("and", H, S), "no"),
    (ExistTwo("or", S, H), "no", Exist(RED_S), "no"),
    (ExistTwo("or", S, H), "yes", ExistTwo("or", H, S), "yes"),
    (ExistRelated(RED_S, "left", H), "yes", Exist(RED_S), "yes"),
    (ExistRelated(S, "left", H), "no", ExistRelated(RED_S, "left", H), "no"),
    (VerifyRelation(STAR, "left", HEART), "yes", VerifyRelation(STAR, "right", HEART), "no"),
    (VerifyRelation(STAR, "left", HEART), "yes", VerifyRelation(HEART, "right", STAR), "yes"),
    (VerifyRelation(STAR, "left", HEART), "no", ChooseRelation(STAR, HEART, ("left", "right")), "right"),
    (VerifyRelation(STAR, "left", HEART), "yes", ExistRelated(S, "left", H), "yes"),
    (VerifyRelation(STAR, "left", HEART), "yes", ExistRelated(H, "left", S), "no"),
    (ChooseRelation(STAR, HEART, ("left", "right")), "left", VerifyRelation(STAR, "left", HEART), "yes"),
    (Same(STAR, HEART, "color"), "yes", Same(HEART, STAR, "color", True), "no"),
    (AllSame(S, "color"), "no", AllSame(S, "color", True), "yes"),
    (Larger(STAR, HEART), "heart", Larger(HEART, STAR), "heart"),
]
NOT_ENTAILED = [
    (Query(STAR, "color"), "red", Query(STAR, "size"), "large"),
    (Query(STAR, "color"), "red", Query(HEART, "color"), "red"),
    (Query(STAR, "color"), "red", Exist(BIG_RED_S), "yes"),
    (Query(STAR, "color"), "red", Exist((("color", "blue"),)), "no"),
    (Query(STAR, "color"), "red", ExistNot(RED, "shape", "star"), "no"),
    (Query(LEFT_ONE, "color"), "red", Exist(BLUE_S), "no"),
    (Query(LEFT_ONE, "color"), "red", ExistNot(S, "color", "red"), "no"),
    (Query(LEFT_ONE, "color"), "red", ExistRelated(RED, "left", H), "yes"),
    (Query(LEFT_ONE, "color"), "red", Query(STAR, "color"), "red"),
    *((Verify(STAR, "color", "red"), "no", Query(STAR, "color"), color) for color in ("orange", "blue")),
    (BIG_AND_RED, "no", Verify(STAR, "color", "red"), "no"),
    (Exist(S), "yes", Exist(RED_S), "yes"),
    (Exist(RED_S), "no", Exist(S), "no"),
    (Exist(S), "yes", Query(STAR, "color"), "red"),
    (ExistNot(BIG_S, "color", "red"), "no", ExistNot(S, "color", "red"), "no"),
    (ExistTwo("and", S, H), "no", Exist(S), "no"),
    (ExistTwo("and", S, H), "no", ExistTwo("and", S, RED), "no"),
    (ExistTwo("or", S, H), "yes", Exist(S), "yes"),
    (ExistTwo("or", S, H), "yes", ExistTwo("or", S, RED), "yes"),
    (BIG_AND_RED, "no", VerifyBoth(STAR, ("size", "large"), ("fill", "solid")), "no"),
    (ExistRelated(S, "left", H), "no", Exist(S), "no"),
    (VerifyRelation(STAR, "left", HEART), "yes", VerifyRelation(STAR, "above", HEART), "yes"),
    # Something else may be level with the heart, so that the question has no clear answer.
    (VerifyRelation(STAR, "left", HEART), "yes", ExistRelated((), "left", H), "yes"),
    (VerifyRelation(STAR, "left", HEART), "yes", ExistRelated((), "right", H), "no"),
    (Query(SCENE, "main color"), "red", Exist((("color", "blue"),)), "no"),
    (Same(STAR, HEART, "color"), "yes", Same(STAR, HEART, "size"), "yes"),
]


OPPOSITE = {"yes": "no", "no": "yes", "left": "right", "right": "left"}


@pytest.mark.parametrize(("meaning", "answer", "other", "other_answer"), ENTAILED)
def test_answer_is_entailed_by_other_answer(meaning, answer, other, other_answer):
    assert is_entailed(other, other_answer, knowledge_from(meaning, answer))


@pytest.mark.parametrize(("meaning", "answer", "other", "other_answer"), NOT_ENTAILED)
def test_answer_is_not_entailed_by_other_answer(meaning, answer, other, other_answer):
    assert not is_entailed(other, other_answer, knowledge_from(meaning, answer))


@pytest.mark.parametrize(
    ("meaning", "answer", "other", "opposite"),
    [(*case[:3], OPPOSITE[case[3]]) for case in ENTAILED if case[3] in OPPOSITE],
)
def test_opposite_of_entailed_answer_is_not_entailed(meaning, answer, other, opposite):
    assert not is_entailed(other, opposite, knowledge_from(meaning, answer))

"""GQA's names of questions: kinds, groups and types as in the published files."""

import json

import pytest

from lxmert.scenes.gqa.conjunctions import VerifyBoth, VerifyTwo
from lxmert.scenes.gqa.existence import Exist, ExistNot, ExistRelated, ExistThat, ExistTwo
from lxmert.scenes.gqa.properties import Choose, Query, Verify
from lxmert.scenes.gqa.records import question_records
from lxmert.scenes.gqa.references import SCENE, GqaScene, ObjectReference, ProgramBuilder
from lxmert.scenes.gqa.relations import ChooseRelation, Larger, Same, VerifyRelation
from lxmert.scenes.gqa.semantics import semantic_string
from lxmert.scenes.lexicon import SHAPES
from tests.scenes.conftest import AskedGqa
from tests.scenes.test_programs import SCENE as SCENE_OF_FOUR

S = (("shape", "star"),)
H = (("shape", "heart"),)
RED_S = (("color", "red"), ("shape", "star"))
RED = (("color", "red"),)
STAR, HEART, RED_ONE = ObjectReference(S), ObjectReference(H), ObjectReference(RED)
LEFT_ONE = ObjectReference(S, "left", H)

# Each group is named as in a question of the real files, such as "Is the hat wet?": 06-hat_wet.
MEANINGS = [
    (Query(STAR, "color"), "directOf", "10q-star_color", "color"),
    (Query(STAR, "hposition"), "positionQuery", "10q-star_hposition", None),
    (Query(RED_ONE, "shape"), "categoryThat", "12q-object_red", "shape"),
    (Query(ObjectReference((), "left", H), "shape"), "relS", "14-heart_to the left of,s", "shape"),
    (Query(ObjectReference((), "same fill", H), "shape"), "sameRelate", "14-heart_same fill,_", "shape"),
    (Query(ObjectReference(RED, "above", H), "shape"), "categoryRelS", "15-heart_above,s", "shape"),
    (Query(SCENE, "main color"), "mainQuery", "02q-color", "color"),
    (Verify(STAR, "color", "red"), "verifyAttr", "06-star_red", None),
    (Verify(LEFT_ONE, "color", "red"), "verifyAttrK", "06-star_red", None),
    (Verify(STAR, "vposition", "top"), "positionVerify.vposition", "06-star_top", None),
    (Verify(SCENE, "main color", "red"), "mainVerify", "01-color_red", None),
    (Choose(STAR, "color", "red", "blue"), "chooseAttr", "10c-star_color", "color"),
    (Choose(STAR, "hposition", "left", "right"), "positionChoose.hposition", "10c-star_hposition", None),
    (Choose(RED_ONE, "shape", "star", "heart"), "categoryThatChoose", "12c-object_red", "shape"),
    (
        Choose(ObjectReference((), "left", H), "shape", "star", "cross"),
        "categoryRelSChoose",
        "15-heart_to the left of,s",
        "shape",
    ),
    (Choose(SCENE, "main color", "red", "blue"), "mainChoose", "02c-color", "color"),
    (VerifyBoth(STAR, ("color", "red"), ("size", "large")), "verifyAttrs", "05-large_red", None),
    (VerifyTwo(STAR, HEART, "color", "red"), "verifyAttrAnd", "09verifyAttrAnd-heart_star", None),
    (Exist(S), "exist", "03-star", None),
    (Exist(RED_S), "existAttr", "04-star_red", None),
    (Exist(RED), "existAttr", "04-object_red", None),
    (ExistThat(RED_S), "existThat", "04-star_red", None),
    (ExistNot(S, "color", "red"), "existAttrNot", "04-star_n#red", None),
    (ExistTwo("and", S, H), "existAnd", "09existAnd-heart_star", None),
    (ExistTwo("or", RED_S, H), "existOr", "09existOr-heart_star", None),
    (ExistRelated(RED_S, "left", H), "existRelS", "13-heart_star", None),
    (ExistRelated(RED, "left", H), "existRelS", "13-heart_object", None),
    (ExistRelated(H, "left", S), "existRelS", "13-star_heart", None),
    (VerifyRelation(STAR, "left", HEART), "relVerify", "13-heart_star", None),
    (VerifyRelation(HEART, "left", STAR), "relVerify", "13-star_heart", None),
    (ChooseRelation(STAR, HEART, ("left", "right")), "relChooser", "13-heart_star", None),
    (Same(STAR, HEART, "color"), "twoSame", "09same-heart_star", None),
    (Same(STAR, HEART, "color", True), "twoDifferent", "09diff-heart_star", None),
    (Larger(STAR, HEART), "comparativeChoose", "09compare-heart_star", "shape"),
]


@pytest.mark.parametrize(("meaning", "kind", "local", "global_"), MEANINGS)
def test_kind_and_groups_are_named_as_in_gqa(meaning, kind: str, local: str, global_: str | None):
    assert meaning.kinds[0] == kind
    assert (meaning.local_group, meaning.global_group) == (local, global_)


CIRCLE = (("shape", "circle"),)


@pytest.mark.parametrize(
    ("meaning", "text"),
    [
        (Exist(RED_S), "select: star (1)->filter color: red [0]->exist: ? [1]"),
        # No star is blue: the ids are those of all stars.
        (Exist((("color", "blue"), *S)), "select: star (1)->filter color: blue [0]->exist: ? [1]"),
        (Exist((("shape", "cross"),)), "select: cross (-)->exist: ? [0]"),
        (
            Query(ObjectReference(H, "same color", S), "size"),
            "select: star (1)->relate: heart,same color,_ (2) [0]->query: size [1]",
        ),
        (
            ExistRelated((("color", "red"),), "above", (("shape", "square"),)),
            "select: square (4)->relate: _,above,s (1,2) [0]->filter color: red [1]->exist: ? [2]",
        ),
        (
            VerifyRelation(ObjectReference(CIRCLE), "right", STAR),
            "select: star (1)->verify rel: circle,to the right of,s (3) [0]",
        ),
    ],
)
def test_program_is_written_as_in_gqa(meaning, text: str):
    scene = GqaScene(SCENE_OF_FOUR, ["1", "2", "3", "4"])
    program = ProgramBuilder(scene)
    meaning.add_steps(program)
    assert semantic_string(program.build()) == text


@pytest.mark.parametrize(
    ("meaning", "first", "second"),
    [
        (Choose(STAR, "color", "red", "blue"), "red", "blue"),
        (ChooseRelation(STAR, HEART, ("right", "left")), "right", "left"),
        (Larger(STAR, HEART), "star", "heart"),
    ],
)
def test_blind_guess_is_position_of_right_option(meaning, first: str, second: str):
    assert meaning.blind_guess(first) == "first"
    assert meaning.blind_guess(second) == "second"
    assert tuple(meaning.choices(first)[0]) == (first, second)


def test_shape_of_the_origin_is_valid_but_not_plausible():
    valid, plausible = Query(ObjectReference((), "left", H), "shape").choices("star")
    assert set(valid) == set(SHAPES)
    assert set(plausible) == set(SHAPES) - {"heart"}


def test_types_are_those_of_real_questions_of_the_same_name(asked_gqa: AskedGqa, shared_data):
    real = json.loads((shared_data / "gqa" / "testdev_balanced_questions.json").read_text())
    known = {record["types"]["detailed"]: record["types"] for record in real.values()}
    compared = set()
    for picture, questions in asked_gqa:
        for record in question_records(questions, picture, "image", 12).values():
            detailed = record["types"]["detailed"]
            if detailed in known:
                compared.add(detailed)
                assert record["types"] == known[detailed]
            is_no = detailed.endswith("C") or detailed == "relVerifyCr"
            assert is_no == (record["answer"] == "no"), record
    assert len(compared) > 35


def test_answer_that_names_a_shape_is_annotated_with_its_object(asked_gqa: AskedGqa):
    annotated = 0
    for picture, questions in asked_gqa:
        records = question_records(questions, picture, "image", 12)
        assert list(records)[:2] == ["0000012000", "0000012001"]
        for record in records.values():
            places = record["annotations"]["answer"]
            is_of_object = record["answer"] in SHAPES and not record["types"]["detailed"].startswith("main")
            assert set(places) == ({"0"} if is_of_object else set())
            if is_of_object:
                annotated += 1
                thing = picture.scene.objects[picture.object_ids.index(places["0"])]
                assert thing.shape == record["answer"]
    assert annotated > 300

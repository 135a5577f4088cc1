"""Worked out by hand or by definition; the official evaluator's own outputs are in tests/parity."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.gqa import GqaExample
from lxmert.data.gqa_scene_graphs import GqaChoices, GqaObject, GqaSceneGraph
from lxmert.errors import DataError
from lxmert.training.metrics.gqa import GqaScores, GroupAccuracy, gqa_scores, reasoning_steps
from lxmert.training.metrics.grounding import grounding_score
from tests.training import gqa_by_definition as definition

FILES = definition.question_files()

few = settings(max_examples=40, deadline=None)


def question(number: int, answer: str = "yes", **changes: Any) -> GqaExample:
    return GqaExample(
        f"0{number}", "1", "Is it red?", answer, structural="verify", semantic="attr", detailed="x", **changes
    )


def perfect(questions: list[GqaExample]) -> dict[str, str]:
    return {one.question_id: str(one.answer) for one in questions}


@few
@given(FILES, st.data())
def test_every_figure_is_as_defined(
    file: tuple[list[GqaExample], dict[str, GqaChoices]], data: st.DataObject
) -> None:
    questions, choices = file
    said = st.sampled_from((*definition.ANSWERS, "color", "Yes"))
    predictions = {one.question_id: data.draw(said) for one in questions}
    scores = gqa_scores(predictions, questions, choices, consistency="require")
    for name, expected in definition.figures(predictions, questions, choices).items():
        found = getattr(scores, name)
        if expected is None:
            assert found is None
            continue
        scale = 1 if name == "distribution" else 100
        assert found == pytest.approx(float(scale * expected), rel=1e-12, abs=1e-12), name
    for group in (scores.per_structural, scores.per_semantic, scores.per_steps, scores.per_words):
        assert sum(one.questions for one in group.values()) == scores.questions
        right = sum(one.percent * one.questions for one in group.values())  # type: ignore[misc]
        assert right == pytest.approx(scores.accuracy * scores.questions)
    assert all(reasoning_steps(one) == definition.steps_by_definition(one) for one in questions)


@few
@given(FILES, st.randoms())
def test_the_order_of_questions_and_predictions_does_not_count(
    file: tuple[list[GqaExample], dict[str, GqaChoices]], random: Any
) -> None:
    questions, choices = file
    predictions = {one.question_id: definition.ANSWERS[n % 4] for n, one in enumerate(questions)}
    first = gqa_scores(predictions, questions, choices).to_dict()
    shuffled, items = list(questions), list(predictions.items())
    random.shuffle(shuffled)
    random.shuffle(items)
    second = gqa_scores(dict(items), shuffled, choices).to_dict()
    for name, value in first.items():
        if isinstance(value, float):
            assert second[name] == pytest.approx(value)
        elif isinstance(value, dict):
            assert second[name].keys() == value.keys()


@few
@given(FILES)
def test_perfect_predictions_score_hundred(file: tuple[list[GqaExample], dict[str, GqaChoices]]) -> None:
    questions, _ = file
    scores = gqa_scores(perfect(questions), questions)
    entailing = any(set(one.entailed) - {one.question_id} for one in questions if one.is_balanced)
    assert scores.accuracy == 100
    assert scores.consistency == (100 if entailing else 0)
    assert scores.distribution in (0, None)
    assert all(group.percent == 100 for group in (*scores.per_steps.values(), *scores.per_words.values()))
    structures = {one.structural for one in questions if one.is_balanced}
    assert scores.open == (100 if "query" in structures else 0)
    assert scores.binary == (100 if structures - {"query"} else 0)


@few
@given(FILES, st.text())
def test_figures_keep_their_bounds_whatever_is_answered(
    file: tuple[list[GqaExample], dict[str, GqaChoices]], answer: str
) -> None:
    questions, choices = file
    scores = gqa_scores({one.question_id: answer for one in questions}, questions, choices)
    for value in (scores.accuracy, scores.binary, scores.open, scores.validity, scores.consistency):
        assert value is not None
        assert 0 <= value <= 100
    assert scores.distribution is None or scores.distribution >= 0
    json.dumps(scores.to_dict())


def test_a_constant_answer_scores_its_share_and_is_consistent_where_entailed_answers_agree() -> None:
    questions = [
        question(1, "yes", entailed=("02", "03")),
        question(2, "no", entailed=("01",)),
        question(3, "yes", is_balanced=False, entailed=("02",)),
    ]
    scores = gqa_scores({one.question_id: "yes" for one in questions}, questions)
    assert (scores.accuracy, scores.questions) == (50.0, 2)
    assert (
        scores.consistency == 50.0
    )  # of the first's two entailed questions one is right; the third is unbalanced
    assert scores.per_structural == {"verify": GroupAccuracy(50.0, 2)}


def test_a_question_entailed_twice_counts_twice() -> None:
    questions = [question(1, entailed=("02", "02", "03", "01")), question(2, "no"), question(3)]
    scores = gqa_scores({"01": "yes", "02": "yes", "03": "yes"}, questions)
    assert scores.consistency == pytest.approx(100 / 3)


@pytest.mark.parametrize("said", ["Yes", "yes ", " yes", "", "yes."])
def test_answers_are_compared_letter_by_letter(said: str) -> None:
    assert gqa_scores({"01": said}, [question(1)]).accuracy == 0


def test_composed_and_decomposed_letters_differ() -> None:
    assert gqa_scores({"01": "cafe\u0301"}, [question(1, "caf\u00e9")]).accuracy == 0


def test_consistency_where_entailed_questions_are_not_in_the_file() -> None:
    questions = [question(1, entailed=("02", "99")), question(2, "no")]
    predictions = perfect(questions)
    unsaid = gqa_scores(predictions, questions)
    assert unsaid.consistency is None
    assert unsaid.no_consistency == "1 entailed questions are not in the file, starting with 99"
    assert gqa_scores(predictions, questions, consistency="known").consistency == 100
    assert gqa_scores(predictions | {"02": "x"}, questions, consistency="known").consistency == 0
    with pytest.raises(DataError, match="no consistency: 1 entailed questions are not in the file"):
        gqa_scores(predictions, questions, consistency="require")


def test_consistency_where_unbalanced_questions_have_no_prediction() -> None:
    questions = [question(1, entailed=("02", "03")), question(2, is_balanced=False), question(3)]
    predictions = {"01": "yes", "03": "yes"}
    assert gqa_scores(predictions, questions).consistency is None
    assert gqa_scores(predictions, questions, consistency="known").consistency == 100
    assert gqa_scores(predictions, questions, allow_missing=True).consistency == 50
    assert gqa_scores(perfect(questions), questions, consistency="off").consistency is None
    with pytest.raises(DataError, match="1 questions have no prediction, starting with 02"):
        gqa_scores(predictions, questions, consistency="require")


def test_missing_predictions_are_refused_or_wrong() -> None:
    questions = [
        question(1, groups_global="g"),
        question(2, groups_global="g"),
        question(3, is_balanced=False),
    ]
    choices = {one.question_id: GqaChoices(("yes",), ("yes",)) for one in questions}
    with pytest.raises(DataError, match="1 of 2 balanced questions have no prediction, starting with 02"):
        gqa_scores({"01": "yes"}, questions)
    scores = gqa_scores({"01": "yes"}, questions, choices, allow_missing=True)
    assert (scores.accuracy, scores.validity, scores.missing) == (50, 50, 1)
    assert scores.distribution == 0.005  # gold: yes, yes; predicted: one yes: (1 - 2)² / 2 / 100


def test_only_some_questions_are_scored_and_the_others_serve_consistency() -> None:
    questions = [question(1, entailed=("02",)), question(2, "no")]
    scores = gqa_scores({"01": "yes", "02": "yes"}, questions, only={"01"})
    assert (scores.accuracy, scores.questions, scores.consistency) == (100, 1, 0)


def test_predicted_answers_outside_the_true_ones_do_not_count_in_the_distribution() -> None:
    questions = [
        question(n, answer, groups_global="g") for n, answer in enumerate(["red", "red", "blue", "x"])
    ]
    predictions = {"00": "red", "01": "never", "02": "red", "03": "x"}
    # red 2 and 2, blue 1 and 0, x 1 and 1: only blue counts.
    assert gqa_scores(predictions, questions).distribution == 0.01


def test_groups_are_weighted_by_their_size() -> None:
    questions = [
        *(question(n, "red", groups_global="colour") for n in range(3)),
        question(4, "dog", groups_global="animal"),
        question(5, "yes"),
    ]
    predictions = {one.question_id: "dog" for one in questions}
    # colour: (0 - 3)² / 3 = 3, of 3 questions; animal: 0, of 1: 9 / 4.
    assert gqa_scores(predictions, questions).distribution == pytest.approx(0.0225)
    assert gqa_scores(perfect(questions[-1:]), questions[-1:]).distribution is None


def test_figures_over_millions_of_questions_are_made_in_sight() -> None:
    done: dict[str, list[int]] = {}

    def start(name: str, total: int) -> Callable[[int], None]:
        done[name] = [total]
        return done[name].append

    unbalanced = [question(number, is_balanced=False) for number in (1, 2)]
    questions = [question(0, entailed=("01", "02")), *unbalanced]
    graphs, looked_at = {"1": GqaSceneGraph((10, 10), {})}, {"00": [[1.0]]}
    gqa_scores(perfect(questions), questions, None, graphs, looked_at, progress=start)
    assert done == {"Comparing ids": [3, 3], "Scoring consistency": [1, 1], "Scoring grounding": [1, 1]}


def test_what_do_they_have_in_common_allows_three_answers_whatever_the_choices() -> None:
    asked = replace(question(1, "color"), detailed="twoCommon")
    choices = {"01": GqaChoices(("nothing",), ("nothing",))}
    for said, expected in (("shape", 100), ("nothing", 0), ("size", 0)):
        scores = gqa_scores({"01": said}, [asked], choices)
        assert (scores.validity, scores.plausibility) == (expected, expected)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), 0),
        (("select: dog (a)", "exist: ?"), 1),
        (("select: dog (a)", "query: name"), 1),
        (("select: dog (a)", "query: color"), 2),
        (("select: dog (a)", "choose name: dog|cat"), 1),
        (("select: existing sign (a)",), 0),  # the evaluator looks for "exist" anywhere in the step
        (("select: name tag (a)", "query: nametag"), 1),
    ],
)
def test_the_last_step_does_not_make_a_question_longer(steps: tuple[str, ...], expected: int) -> None:
    assert reasoning_steps(replace(question(1), semantic_steps=steps)) == expected


@pytest.mark.parametrize(
    ("questions", "predictions", "choices", "message"),
    [
        ([], {}, None, "no balanced question"),
        ([question(1, is_balanced=False)], {"01": "yes"}, None, "no balanced question"),
        ([GqaExample("01", "1", "?")], {"01": "yes"}, None, "question 01 has no answer"),
        ([question(1)], {"01": "yes"}, {}, "question 01 is not in the choices file"),
    ],
)
def test_what_cannot_be_scored(questions: Any, predictions: Any, choices: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        gqa_scores(predictions, questions, choices)


class TestGrounding:
    graph = GqaSceneGraph(
        (50, 100),  # height, width
        {"a": GqaObject("dog", (0, 0, 25, 50)), "b": GqaObject("cat", (75, 25, 25, 25))},
    )

    def asked(self, **pointers: dict[str, str]) -> GqaExample:
        empty: dict[str, dict[str, str]] = {"question": {}, "answer": {}, "fullAnswer": {}}
        return question(1, annotations=empty | pointers)

    def score(self, asked: GqaExample, attention: Any, **options: Any) -> GqaScores:
        return gqa_scores({"01": "yes"}, [asked], None, {"1": self.graph}, {"01": attention}, **options)

    def test_rows_of_the_map_run_along_x(self) -> None:
        asked = self.asked(question={"1": "a"})
        # The dog fills the left half of the left column of cells, and nothing of the right one.
        assert self.score(asked, [[0.3, 0.7], [0, 0]]).grounding == pytest.approx(50)
        assert self.score(asked, [[0.3, 0], [0, 0.7]]).grounding == pytest.approx(15)

    def test_objects_named_again_count_again_and_those_of_the_answer_alone_do_not(self) -> None:
        asked = self.asked(question={"1": "a", "2:4": "b"}, fullAnswer={"0": "a"}, answer={"0": "b"})
        # dog: 1/4 of the image, twice; cat: 1/8.
        assert self.score(asked, [[1.0]]).grounding == pytest.approx(100 * (0.25 + 0.125 + 0.25))

    def test_questions_about_no_object_score_nothing(self) -> None:
        assert self.score(self.asked(), [[1.0]]).grounding == 0
        scene = replace(self.asked(), semantic_steps=("select: scene",))
        assert (
            grounding_score(scene, self.graph, [[1.0]]) == 0
        )  # the evaluator means otherwise, but its test fails

    def test_attention_over_objects(self) -> None:
        asked = self.asked(question={"1": "a"})
        boxes = [[0, 0, 0.5, 1, 0.8], [0.5, 0, 1, 1, 0.1], [0.1, 0.1, 0.1, 0.9, 0.1]]  # the last has no area
        assert self.score(asked, boxes, attention_kind="objects").grounding == pytest.approx(40)

    @few
    @given(st.integers(1, 9))
    def test_a_uniform_map_gives_the_area_of_the_objects(self, size: int) -> None:
        asked = self.asked(question={"1": "a"}, fullAnswer={"5": "b"})
        uniform = [[1 / size**2] * size] * size
        assert grounding_score(asked, self.graph, uniform) == pytest.approx(0.25 + 0.125)

    @pytest.mark.parametrize(
        ("attention", "kind", "message"),
        [
            ([], "map", "0 rows"),
            ([[1, 2], [3]], "map", r"2 rows of \[1, 2\] numbers"),
            ([[1, 2, 3, 4]], "objects", "4 numbers; expected x0, y0, x1, y1, attention"),
        ],
    )
    def test_attention_of_another_form(self, attention: Any, kind: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            self.score(self.asked(), attention, attention_kind=kind)

    def test_what_belongs_to_another_split(self) -> None:
        with pytest.raises(DataError, match="points to object z"):
            self.score(self.asked(question={"0": "z"}), [[1.0]])
        asked = self.asked()
        with pytest.raises(DataError, match="needs the scene graphs"):
            gqa_scores({"01": "yes"}, [asked], attentions={"01": [[1.0]]})
        with pytest.raises(DataError, match="question 01 has no attention"):
            gqa_scores({"01": "yes"}, [asked], None, {"1": self.graph}, {})
        with pytest.raises(DataError, match="image 1 has no scene graph"):
            gqa_scores({"01": "yes"}, [asked], None, {}, {"01": [[1.0]]})

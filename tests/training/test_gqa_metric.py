"""GQA metrics by hand or by definition; the official evaluator's own outputs are in tests/parity."""

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

few_examples = settings(max_examples=40, deadline=None)


def question(number: int, answer: str = "yes", **changes: Any) -> GqaExample:
    return GqaExample(
        f"0{number}", "1", "Is it red?", answer, structural="verify", semantic="attr", detailed="x", **changes
    )


def perfect(questions: list[GqaExample]) -> dict[str, str]:
    return {one.question_id: str(one.answer) for one in questions}


@few_examples
@given(FILES, st.data())
def test_every_metric_matches_its_definition(
    file: tuple[list[GqaExample], dict[str, GqaChoices]], data: st.DataObject
) -> None:
    questions, choices = file
    predicted = st.sampled_from((*definition.ANSWERS, "color", "Yes"))
    predictions = {one.question_id: data.draw(predicted) for one in questions}
    scores = gqa_scores(predictions, questions, choices, consistency="require")
    for name, expected in definition.gqa_metrics(predictions, questions, choices).items():
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


@few_examples
@given(FILES, st.randoms())
def test_question_and_prediction_order_do_not_change_scores(
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


@few_examples
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


@few_examples
@given(FILES, st.text())
def test_metrics_stay_within_bounds_for_any_answer(
    file: tuple[list[GqaExample], dict[str, GqaChoices]], answer: str
) -> None:
    questions, choices = file
    scores = gqa_scores({one.question_id: answer for one in questions}, questions, choices)
    for value in (scores.accuracy, scores.binary, scores.open, scores.validity, scores.consistency):
        assert value is not None
        assert 0 <= value <= 100
    assert scores.distribution is None or scores.distribution >= 0
    json.dumps(scores.to_dict())


def test_constant_answer_scores_share_of_questions_and_of_entailed_questions() -> None:
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


def test_question_entailed_twice_counts_twice() -> None:
    questions = [question(1, entailed=("02", "02", "03", "01")), question(2, "no"), question(3)]
    scores = gqa_scores({"01": "yes", "02": "yes", "03": "yes"}, questions)
    assert scores.consistency == pytest.approx(100 / 3)


@pytest.mark.parametrize("predicted", ["Yes", "yes ", " yes", "", "yes."])
def test_answers_are_compared_letter_by_letter(predicted: str) -> None:
    assert gqa_scores({"01": predicted}, [question(1)]).accuracy == 0


def test_composed_and_decomposed_letters_differ() -> None:
    assert gqa_scores({"01": "cafe\u0301"}, [question(1, "caf\u00e9")]).accuracy == 0


def test_consistency_mode_decides_for_entailed_questions_not_in_file() -> None:
    questions = [question(1, entailed=("02", "99")), question(2, "no")]
    predictions = perfect(questions)
    default_scores = gqa_scores(predictions, questions)
    assert default_scores.consistency is None
    assert default_scores.no_consistency == "1 entailed questions are not in the file, starting with 99"
    assert gqa_scores(predictions, questions, consistency="known").consistency == 100
    assert gqa_scores(predictions | {"02": "x"}, questions, consistency="known").consistency == 0
    with pytest.raises(DataError, match="no consistency: 1 entailed questions are not in the file"):
        gqa_scores(predictions, questions, consistency="require")


def test_consistency_mode_decides_for_unbalanced_questions_without_prediction() -> None:
    questions = [question(1, entailed=("02", "03")), question(2, is_balanced=False), question(3)]
    predictions = {"01": "yes", "03": "yes"}
    assert gqa_scores(predictions, questions).consistency is None
    assert gqa_scores(predictions, questions, consistency="known").consistency == 100
    assert gqa_scores(predictions, questions, allow_missing=True).consistency == 50
    assert gqa_scores(perfect(questions), questions, consistency="off").consistency is None
    with pytest.raises(DataError, match="1 questions have no prediction, starting with 02"):
        gqa_scores(predictions, questions, consistency="require")


def test_missing_predictions_raise_or_count_as_wrong() -> None:
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


def test_only_selected_questions_are_scored_and_others_count_for_consistency() -> None:
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


def test_gqa_scores_reports_progress_of_each_pass() -> None:
    done: dict[str, list[int]] = {}

    def start(name: str, total: int) -> Callable[[int], None]:
        done[name] = [total]
        return done[name].append

    unbalanced = [question(number, is_balanced=False) for number in (1, 2)]
    questions = [question(0, entailed=("01", "02")), *unbalanced]
    graphs, looked_at = {"1": GqaSceneGraph((10, 10), {})}, {"00": [[1.0]]}
    gqa_scores(perfect(questions), questions, None, graphs, looked_at, progress=start)
    assert done == {"Comparing ids": [3, 3], "Scoring consistency": [1, 1], "Scoring grounding": [1, 1]}


def test_common_attribute_question_allows_three_fixed_answers() -> None:
    asked = replace(question(1, "color"), detailed="twoCommon")
    choices = {"01": GqaChoices(("nothing",), ("nothing",))}
    for predicted, expected in (("shape", 100), ("nothing", 0), ("size", 0)):
        scores = gqa_scores({"01": predicted}, [asked], choices)
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
def test_reasoning_steps_leave_out_steps_with_exist_or_name(steps: tuple[str, ...], expected: int) -> None:
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
def test_unscorable_questions_raise_data_error(
    questions: Any, predictions: Any, choices: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        gqa_scores(predictions, questions, choices)


class TestGrounding:
    graph = GqaSceneGraph(
        (50, 100),  # height, width
        {"a": GqaObject("dog", (0, 0, 25, 50)), "b": GqaObject("cat", (75, 25, 25, 25))},
    )

    def question_about(self, **pointers: dict[str, str]) -> GqaExample:
        empty: dict[str, dict[str, str]] = {"question": {}, "answer": {}, "fullAnswer": {}}
        return question(1, annotations=empty | pointers)

    def score(self, asked: GqaExample, attention: Any, **options: Any) -> GqaScores:
        return gqa_scores({"01": "yes"}, [asked], None, {"1": self.graph}, {"01": attention}, **options)

    def test_rows_of_the_map_run_along_x(self) -> None:
        asked = self.question_about(question={"1": "a"})
        # The dog fills the left half of the left column of cells, and nothing of the right one.
        assert self.score(asked, [[0.3, 0.7], [0, 0]]).grounding == pytest.approx(50)
        assert self.score(asked, [[0.3, 0], [0, 0.7]]).grounding == pytest.approx(15)

    def test_repeated_objects_count_again_and_answer_only_objects_do_not(self) -> None:
        asked = self.question_about(question={"1": "a", "2:4": "b"}, fullAnswer={"0": "a"}, answer={"0": "b"})
        # dog: 1/4 of the image, twice; cat: 1/8.
        assert self.score(asked, [[1.0]]).grounding == pytest.approx(100 * (0.25 + 0.125 + 0.25))

    def test_question_without_objects_has_zero_grounding(self) -> None:
        assert self.score(self.question_about(), [[1.0]]).grounding == 0
        scene = replace(self.question_about(), semantic_steps=("select: scene",))
        assert (
            grounding_score(scene, self.graph, [[1.0]]) == 0
        )  # the evaluator means otherwise, but its test fails

    def test_attention_over_objects_counts_overlap_with_named_objects(self) -> None:
        asked = self.question_about(question={"1": "a"})
        boxes = [[0, 0, 0.5, 1, 0.8], [0.5, 0, 1, 1, 0.1], [0.1, 0.1, 0.1, 0.9, 0.1]]  # the last has no area
        assert self.score(asked, boxes, attention_kind="objects").grounding == pytest.approx(40)

    @few_examples
    @given(st.integers(1, 9))
    def test_uniform_map_scores_area_of_objects(self, size: int) -> None:
        asked = self.question_about(question={"1": "a"}, fullAnswer={"5": "b"})
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
    def test_malformed_attention_raises_data_error(self, attention: Any, kind: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            self.score(self.question_about(), attention, attention_kind=kind)

    def test_attention_or_scene_graphs_of_another_split_raise_data_error(self) -> None:
        with pytest.raises(DataError, match="points to object z"):
            self.score(self.question_about(question={"0": "z"}), [[1.0]])
        asked = self.question_about()
        with pytest.raises(DataError, match="needs the scene graphs"):
            gqa_scores({"01": "yes"}, [asked], attentions={"01": [[1.0]]})
        with pytest.raises(DataError, match="question 01 has no attention"):
            gqa_scores({"01": "yes"}, [asked], None, {"1": self.graph}, {})
        with pytest.raises(DataError, match="image 1 has no scene graph"):
            gqa_scores({"01": "yes"}, [asked], None, {}, {"01": [[1.0]]})

"""GQA scores, against recorded results of the official evaluator."""

import json
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.gqa import read_gqa
from lxmert.data.gqa_scene_graphs import read_gqa_choices, read_scene_graphs
from lxmert.errors import DataError
from lxmert.training.metrics.gqa import gqa_scores
from tests.command_line import exit_status


@pytest.fixture(scope="module")
def vectors(shared_specs: Path) -> dict[str, Any]:
    return json.loads((shared_specs / "metric_vectors.json").read_text(encoding="utf-8"))["gqa"]


@pytest.fixture(scope="module")
def folder(vectors: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gqa")
    for name in ("questions", "choices", "scenes"):
        (folder / f"{name}.json").write_text(json.dumps(vectors[name]))
    return folder


def test_gqa_scores_equal_official_evaluator(vectors: dict[str, Any], folder: Path) -> None:
    questions = read_gqa(folder / "questions.json")
    choices = read_gqa_choices(folder / "choices.json")
    scenes = read_scene_graphs(folder / "scenes.json")
    assert len(vectors["cases"]) >= 7
    for case in vectors["cases"]:
        rule = "require" if "--consistency" in case["args"] else "off"
        given = (case["predictions"], questions, choices, scenes, case["attentions"])
        if "error" in case["expected"]:
            with pytest.raises(DataError, match="no prediction"):
                gqa_scores(*given, consistency=rule)
            continue
        found = json.loads(json.dumps(gqa_scores(*given, consistency=rule).to_dict()))
        assert {name: found[name] for name in case["expected"]} == case["expected"], case["note"]


def test_score_gqa_command_equals_official_evaluator(
    vectors: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in vectors["cases"]:
        rows = [{"questionId": id_, "prediction": answer} for id_, answer in case["predictions"].items()]
        (folder / "predictions.json").write_text(json.dumps(rows))
        words = [
            "score",
            "gqa",
            "-p",
            "predictions.json",
            "-a",
            "questions.json",
            "--choices",
            "choices.json",
        ]
        if case["attentions"]:
            maps = [{"questionId": id_, "attention": row} for id_, row in case["attentions"].items()]
            (folder / "attentions.json").write_text(json.dumps(maps))
            words += ["--attentions", "attentions.json", "--scene-graphs", "scenes.json"]
        words += ["--consistency", "require", "--json"]
        words = [str(folder / word) if word.endswith(".json") else word for word in words]
        status = exit_status(*words)
        output = capsys.readouterr()
        if "error" in case["expected"]:
            assert status == 1
            assert output.err.count("\n") == 1
            assert "no prediction, starting with 03" in output.err
            continue
        found = json.loads(output.out)
        assert {name: found[name] for name in case["expected"]} == case["expected"], case["note"]


def test_true_and_constant_answers_on_testdev_give_expected_scores(shared_data: Path) -> None:
    questions = read_gqa(shared_data / "gqa" / "testdev_balanced_questions.json")
    scores = gqa_scores(
        {question.question_id: str(question.answer) for question in questions}, questions, consistency="known"
    )
    assert (scores.accuracy, scores.consistency, scores.distribution) == (100, 100, 0)
    counts = {name: group.questions for name, group in scores.per_structural.items()}
    assert counts == {"query": 6805, "verify": 2252, "logical": 1803, "choose": 1129, "compare": 589}
    constant = gqa_scores({question.question_id: "yes" for question in questions}, questions)
    yes = sum(question.answer == "yes" for question in questions)
    assert constant.accuracy == yes / 12578 * 100
    assert constant.open == 0
    assert constant.consistency is None  # most entailed questions are unbalanced, so not in this file

"""Answer normalisation, VQA accuracy and soft labels, against recorded results of the official code."""

import json
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.answer_normalisation import (
    normalise_answer,
    process_digits_and_articles,
    process_punctuation,
)
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.labels import annotator_score
from lxmert.data.vqa import VqaExample
from lxmert.training.metrics.vqa import VqaEvaluator, vqa_accuracy
from tests.command_line import exit_status


@pytest.fixture(scope="module")
def vectors(shared_specs: Path) -> dict[str, Any]:
    return json.loads((shared_specs / "metric_vectors.json").read_text(encoding="utf-8"))


def test_every_string_is_normalised_as_by_the_official_evaluator(vectors: dict[str, Any]) -> None:
    cases = vectors["vqa_normalisation"]["cases"]
    assert len(cases) > 50
    for case in cases:
        text = case["input"]
        assert process_punctuation(text) == case["processPunctuation"], text
        assert process_digits_and_articles(text) == case["processDigitArticle_only"], text
        assert normalise_answer(text) == case["full"], text


@pytest.mark.parametrize(
    ("evaluator", "key"),
    [
        (VqaEvaluator.PRESENT, "expected_percent"),
        (VqaEvaluator.BEFORE_2021_03, "expected_percent_code_before_2021_03"),
    ],
)
def test_vqa_accuracy_equals_official_evaluator(
    vectors: dict[str, Any], evaluator: VqaEvaluator, key: str
) -> None:
    cases = vectors["vqa_accuracy"]["cases"]
    examples = [
        VqaExample(case["question_id"], 1, "", case["question_type"], case["answer_type"], tuple(case["gt"]))
        for case in cases
    ]
    predictions = {case["question_id"]: case["pred"] for case in cases}
    scores = vqa_accuracy(predictions, examples, evaluator)
    assert scores.per_question == {case["question_id"]: case[key] for case in cases}
    for aggregate in ("overall", "perAnswerType", "perQuestionType"):
        expected = vectors["vqa_accuracy"].get("aggregates", {}).get(aggregate)
        if expected is not None and evaluator is VqaEvaluator.PRESENT:
            assert scores.to_dict()[aggregate] == expected


@pytest.mark.parametrize(
    ("version", "key"),
    [("present", "expected_percent"), ("before-2021-03", "expected_percent_code_before_2021_03")],
)
def test_score_vqa_command_equals_official_evaluator_per_question(
    vectors: dict[str, Any], version: str, key: str, tmp_path: Path
) -> None:
    cases = vectors["vqa_accuracy"]["cases"]
    annotations, predictions, each = (tmp_path / f"{name}.json" for name in ("annotations", "said", "each"))
    entries = [
        {name: case[name] for name in ("question_id", "question_type", "answer_type")}
        | {"answers": [{"answer": text, "answer_id": n} for n, text in enumerate(case["gt"], 1)]}
        for case in cases
    ]
    annotations.write_text(json.dumps({"annotations": entries}))
    predictions.write_text(
        json.dumps([{"question_id": case["question_id"], "answer": case["pred"]} for case in cases])
    )
    words = [
        "score",
        "vqa",
        "-p",
        predictions,
        "-a",
        annotations,
        "--evaluator",
        version,
        "--per-question",
        each,
    ]
    assert exit_status(*list(map(str, words))) == 0
    found = json.loads(each.read_text())
    assert found == {str(case["question_id"]): case[key] for case in cases}


def test_soft_labels_equal_those_of_the_public_pipeline(vectors: dict[str, Any]) -> None:
    block = vectors["vqa_soft_labels"]
    for count, score in block["get_score"].items():
        assert annotator_score(int(count)) == score
    target = block["compute_target"]
    examples = [
        VqaExample(
            annotation["question_id"],
            annotation["image_id"],
            "",
            answers=tuple(answer["answer"] for answer in annotation["answers"]),
            multiple_choice_answer=annotation["multiple_choice_answer"],
        )
        for annotation in target["annotations"]
    ]
    vocabulary = AnswerVocabulary.build(examples, min_count=target["min_occurence"])
    assert sorted(vocabulary) == sorted(target["kept_answers"])
    for example, expected in zip(examples, target["targets"], strict=True):
        found = {vocabulary[label]: score for label, score in vocabulary.soft_scores(example.answers).items()}
        assert found == expected["label"]
        assert example.question_id == expected["question_id"]

"""NLVR2 scores, against recorded results of the official script on the same files."""

import json
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.nlvr2 import read_nlvr2
from lxmert.training.metrics.nlvr2 import nlvr2_scores
from tests.command_line import exit_status


@pytest.fixture(scope="module")
def vectors(shared_specs: Path) -> dict[str, Any]:
    return json.loads((shared_specs / "metric_vectors.json").read_text(encoding="utf-8"))["nlvr2"]


def test_score_nlvr2_command_equals_official_script(
    vectors: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, predictions = tmp_path / "labels.json", tmp_path / "predictions.csv"
    rows = ({"identifier": identifier, "label": label} for identifier, label in vectors["labels"].items())
    labels.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert len(vectors["cases"]) >= 7
    for case in vectors["cases"]:
        predictions.write_text(
            "".join(f"{identifier},{answer}\n" for identifier, answer in case["predictions"])
        )
        status = exit_status("score", "nlvr2", "-p", str(predictions), "-a", str(labels), "--json")
        output, expected = capsys.readouterr(), case["expected"]
        if "accuracy" not in expected:
            assert status == 1
            assert "questions without a prediction: 1 (dev-10-0-0)" in output.err
            continue
        assert status == 0
        found = json.loads(output.out)
        assert (found["accuracy"], found["consistency"]) == (expected["accuracy"], expected["consistency"])


@pytest.mark.parametrize("split", ["dev", "test1"])
def test_baseline_predictions_on_real_files_score_as_official_script(
    split: str, vectors: dict[str, Any], shared_data: Path
) -> None:
    examples = read_nlvr2(shared_data / "nlvr2" / f"{split}.json")
    baselines = {
        "constant_True": {example.identifier: True for example in examples},
        "constant_False": {example.identifier: "false" for example in examples},
        "True_if_sentence_has_even_number_of_characters": {
            example.identifier: len(example.sentence) % 2 == 0 for example in examples
        },
    }
    for name, predictions in baselines.items():
        expected = vectors["real_data"]["expected"][f"{split}/{name}"]
        scores = nlvr2_scores(predictions, examples)
        assert {"accuracy": scores.accuracy, "consistency": scores.consistency} == expected, name
    assert scores.groups == {"dev": 2018, "test1": 1995}[split]

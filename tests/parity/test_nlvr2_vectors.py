"""NLVR2's figures against what the official script gave when it was run, on the same files."""

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


def test_every_case_scores_as_by_the_official_script(
    vectors: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, predictions = tmp_path / "labels.json", tmp_path / "predictions.csv"
    rows = ({"identifier": one, "label": label} for one, label in vectors["labels"].items())
    labels.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert len(vectors["cases"]) >= 7
    for case in vectors["cases"]:
        predictions.write_text("".join(f"{one},{said}\n" for one, said in case["predictions"]))
        status = exit_status("score", "nlvr2", "-p", str(predictions), "-a", str(labels), "--json")
        told, expected = capsys.readouterr(), case["expected"]
        if "accuracy" not in expected:
            assert status == 1
            assert "questions without a prediction: 1 (dev-10-0-0)" in told.err
            continue
        assert status == 0
        found = json.loads(told.out)
        assert (found["accuracy"], found["consistency"]) == (expected["accuracy"], expected["consistency"])


@pytest.mark.parametrize("split", ["dev", "test1"])
def test_constants_on_the_real_files(split: str, vectors: dict[str, Any], shared_data: Path) -> None:
    examples = read_nlvr2(shared_data / "nlvr2" / f"{split}.json")
    said = {
        "constant_True": {one.identifier: True for one in examples},
        "constant_False": {one.identifier: "false" for one in examples},
        "True_if_sentence_has_even_number_of_characters": {
            one.identifier: len(one.sentence) % 2 == 0 for one in examples
        },
    }
    for name, predictions in said.items():
        expected = vectors["real_data"]["expected"][f"{split}/{name}"]
        scores = nlvr2_scores(predictions, examples)
        assert {"accuracy": scores.accuracy, "consistency": scores.consistency} == expected, name
    assert scores.groups == {"dev": 2018, "test1": 1995}[split]

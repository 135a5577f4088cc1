"""The authors' files and users' own JSON lines: scored by soft labels, trained on like official files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lxmert import LxmertProcessor
from lxmert.cli.score_tables import score_table
from lxmert.data.file_layouts import GqaFiles, VqaFiles
from lxmert.data.labelled_split import LabelledReader
from lxmert.data.vqa import read_vqa
from lxmert.errors import DataError
from lxmert.training.finetuning import finetune
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.task_registry import get_task
from tests.command_line import exit_status
from tests.data.file_writers import write_json_lines

ROWS = [
    {"question_id": 1, "img_id": "a", "sent": "What?", "question_type": "what", "answer_type": "other",
     "label": {"net": 0.6, "nets": 1}},
    {"question_id": 2, "img_id": "b", "sent": "Is it?", "question_type": "is", "answer_type": "yes/no",
     "label": {"yes": 0.9}},
    {"question_id": 3, "img_id": "b", "sent": "What is it?", "question_type": "what", "answer_type": "other",
     "label": {"net": 0.3}},
    {"question_id": 4, "img_id": "c", "sent": "Is that?", "question_type": "is", "answer_type": "yes/no",
     "label": {}},
]  # fmt: skip


GRID = {"kind": "regular_grid", "rows": 1, "columns": 2, "encoder": {"kind": "pooled_pixels", "size": 2}}
PREDICTIONS = {1: "net", 2: "yes", 3: "Net", 4: "yes"}


def test_prediction_scores_soft_label_of_identically_spelled_answer(tmp_path: Path) -> None:
    (tmp_path / "val.json").write_text(json.dumps(ROWS))
    task = get_task("vqa")
    layout = VqaFiles(format="lxmert", questions="{split}.json")
    examples = task.split(tmp_path, "val", layout).read()
    assert isinstance(examples.split.reader, LabelledReader)
    scored = task.score(examples, PREDICTIONS, evaluator="present")
    assert scored.accuracy == pytest.approx(100 * (0.6 + 0.9) / 4)
    assert scored.per_family == {"other": pytest.approx(30.0), "yes/no": pytest.approx(45.0)}
    report = scored.scores.to_dict()
    assert report["perQuestionType"] == {"what": pytest.approx(30.0), "is": pytest.approx(45.0)}
    assert report["questions"] == 4
    assert "per_question" not in report
    assert score_table("t", scored.scores).row_count == 1 + 2 * 3


def test_answer_and_question_types_of_same_name_are_counted_separately(tmp_path: Path) -> None:
    rows = [row | {"question_type": "other"} if row["answer_type"] == "yes/no" else row for row in ROWS[:3]]
    (tmp_path / "val.json").write_text(json.dumps(rows))
    task = get_task("vqa")
    scored = task.score(
        task.split(tmp_path, "val", VqaFiles(format="lxmert", questions="{split}.json")).read(), PREDICTIONS
    )
    report = scored.scores.to_dict()
    assert report["questionsPerAnswerType"] == {"other": 2, "yes/no": 1}
    assert report["questionsPerType"] == {"what": 2, "other": 1}
    counts = list(score_table("t", scored.scores).columns[1].cells)
    assert counts == ["3", "", "2", "1", "", "1", "2"]


def test_gqa_rows_without_types_have_accuracy_and_unlabelled_rows_raise(tmp_path: Path) -> None:
    rows = [{"question_id": "07", "img_id": "n1", "sent": "Is it?", "label": {"yes": 1.0}}]
    (tmp_path / "testdev.json").write_text(json.dumps(rows))
    task, layout = get_task("gqa"), GqaFiles(format="lxmert", questions="{split}.json")
    scored = task.score(task.split(tmp_path, "testdev", layout).read(), {"07": "yes"})
    assert (scored.accuracy, dict(scored.per_family)) == (100.0, {})
    (tmp_path / "test.json").write_text(json.dumps([{**rows[0], "label": None}]))
    with pytest.raises(DataError, match="07 has no label"):
        task.score(task.split(tmp_path, "test", layout).read(), {"07": "yes"})


def test_authors_files_with_features_of_unknown_extractor_train_and_score(
    scenes_folder: Path, tiny_values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the recipes of the paper do it: their JSON, splits joined, several stores, no extractor at hand."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "val"):
        questions = read_vqa(
            scenes_folder / f"annotations/vqa_{split}_questions.json",
            scenes_folder / f"annotations/vqa_{split}_annotations.json",
        )
        rows = [
            {
                "question_id": one.question_id,
                "img_id": f"scenes_{split}_{one.image_id:012d}",
                "sent": one.question,
                "label": {one.multiple_choice_answer: 1.0, "unheard of": 0.3},
            }
            for one in questions
        ]
        half = len(rows) // 2
        (data / f"{split}_a.json").write_text(json.dumps(rows[:half]))
        (data / f"{split}_b.json").write_text(json.dumps(rows[half:]))
        images, store = str(scenes_folder / "images" / split), str(tmp_path / f"store_{split}")
        assert exit_status("extract", images, "-o", store, "--extractor", json.dumps(GRID), "-q") == 0
    stores = [str(tmp_path / "store_train"), str(tmp_path / "store_val")]
    values = tiny_values | {
        "data": {
            "directory": str(data),
            "train_split": "train_a,train_b",
            "validation_split": "val_a",
            "test_split": "val_b",
            "files": {"format": "lxmert", "questions": "{split}.json"},
            "answers": {"source": "scenes"},
            "extractor": None,
            "features": stores,
            "train_images": 10,
        },
        "optimisation": {**tiny_values["optimisation"], "epochs": 1, "loss": "soft_bce"},
    }
    result = finetune(FinetuneRecipe.from_dict(values), tmp_path / "out")
    assert result.metrics["data"]["train_questions"] == 200
    assert LxmertProcessor.from_pretrained(tmp_path / "out").extractor is None
    capsys.readouterr()
    words = ["eval", str(tmp_path / "out"), str(data), "--split", "val_b"]
    # The layout is the recipe's; the features are given again.
    assert exit_status(*words, "--features", stores[1], "--json") == 0
    assert json.loads(capsys.readouterr().out) == result.metrics["test"] | {"dtype": "float32"}
    assert exit_status(*words) == 1
    assert "no extractor" in capsys.readouterr().err


def write_own_lines(scenes_folder: Path, data: Path) -> None:
    """Questions of made scenes as a user's own JSON lines, every other with an id, one with a rare answer.

    Those of "val" are in a language that the model does not know.
    """
    for split in ("train", "val", "test"):
        questions = read_vqa(
            scenes_folder / f"annotations/vqa_{split}_questions.json",
            scenes_folder / f"annotations/vqa_{split}_annotations.json",
        )
        lines = [
            {
                "image": f"{split}/scenes_{split}_{one.image_id:012d}.png",
                "sentence": "Какого цвета?" if split == "val" else one.question,
                "answer": "rare \u00e9" if number == 0 else one.multiple_choice_answer,
            }
            | ({"id": f"q/{number}"} if number % 2 else {})
            for number, one in enumerate(questions.examples[:60])
        ]
        write_json_lines(data / f"own_{split}.jsonl", *lines)


def test_own_json_lines_train_predict_and_score_from_command_line(
    scenes_folder: Path,
    tiny_values: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_own_lines(scenes_folder, tmp_path / "data")
    data = {
        "directory": "data",
        "files": {"questions": "own_{split}.jsonl", "images": str(scenes_folder / "images")},
        "answers": {"min_count": 2},
        "extractor": GRID,
    }
    Path("own.yaml").write_text(yaml.safe_dump(tiny_values | {"task": "vqa", "data": data}))
    assert exit_status("finetune", "vqa", "--config", "own.yaml", "-o", "out") == 0
    messages = " ".join(capsys.readouterr().err.split())
    [left_out] = re.findall(
        r"note: (\d+) of 60 training questions have no answer among the (\d+) answers", messages
    )
    answers = json.loads(Path("out/answers.json").read_text(encoding="utf-8"))
    metadata = json.loads(Path("out/metrics.json").read_text())["data"]
    assert left_out == (str(60 - metadata["train_questions_with_known_answer"]), str(len(answers)))
    assert "those of at least 2 training questions (data.answers.min_count)" in messages
    assert "of 60 validation questions have no answer among" in messages
    assert "rare \u00e9" not in answers
    assert "note: 67 % of the word pieces in the validation sentences are [UNK]" in messages  # but for "?"
    assert "of the word pieces in the training" not in messages

    assert exit_status("eval", "out", "data", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert exit_status("predict", "out", "data", "-o", "said.json", "-q") == 0
    predictions = json.loads(Path("said.json").read_text())
    assert [row["question_id"] for row in predictions[:4]] == ["own_test-1", "q/1", "own_test-3", "q/3"]
    capsys.readouterr()
    assert exit_status("score", "vqa", "-p", "said.json", "-a", "data/own_test.jsonl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["overall"] == figures["score"]


def test_own_pairs_train_predict_and_score(
    scenes_folder: Path,
    tiny_values: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        pictures = sorted((scenes_folder / "images" / split).iterdir())[:4]
        lines = [
            {
                "image": [left.name, right.name],
                "sentence": "Both are alike.",
                "label": None if split == "train" and right is pictures[0] else left.name == right.name,
            }
            for left in pictures
            for right in pictures
        ]
        write_json_lines(tmp_path / "data" / f"own_{split}.jsonl", *lines)
    data = {
        "directory": "data",
        "test_split": None,
        "files": {"sentences": "own_{split}.jsonl", "images": f"{scenes_folder / 'images'}/{{split}}"},
        "extractor": GRID,
    }  # fmt: skip
    optimisation = {name: value for name, value in tiny_values["optimisation"].items() if name != "loss"}
    values = tiny_values | {"task": "nlvr2", "data": data, "optimisation": optimisation}
    Path("own.yaml").write_text(yaml.safe_dump(values))
    assert exit_status("finetune", "nlvr2", "--config", "own.yaml", "-o", "out") == 0
    messages = " ".join(capsys.readouterr().err.split())
    assert "note: 4 of 16 training questions have no answer among the 2 answers" in messages
    assert exit_status("eval", "out", "data", "--split", "val", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert exit_status("predict", "out", "data", "--split", "val", "-o", "said.csv", "-q") == 0
    assert Path("said.csv").read_text().splitlines()[15].startswith("own_val-16,")
    capsys.readouterr()
    assert exit_status("score", "nlvr2", "-p", "said.csv", "-a", "data/own_val.jsonl", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accuracy"] == figures["accuracy"]
    assert (report["examples"], report["groups"]) == (16, 1)

"""Scoring a saved detector: its run's metrics reproduced, both data formats, its own or another recipe."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lxmert.errors import ConfigurationError, DataError, WeightsError
from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.training.detection.running import train_detector
from lxmert.training.detection.saved_detector import evaluate_detector
from lxmert.vision.faster_rcnn.extractor import detector_folder
from lxmert.weights import published
from tests.command_line import exit_status
from tests.small_checkpoints import DETECTOR_NAME, write_small_published_detector
from tests.training.detection.genome import visual_genome_from

Make = Callable[..., DetectorRecipe]


@pytest.fixture(scope="module")
def run_folder(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run from the embedded detector, so that objects are found; the attributes are begun anew."""
    folder = tmp_path_factory.mktemp("run") / "trained"
    recipe = {
        "model": {"from_pretrained": detector_folder("scenes")},
        "data": {
            "directory": str(scenes_folder),
            "attribute_keys": ["fill", "size"],
            "train_images": 12,
            "validation_images": 1,
        },
        "optimisation": {"epochs": 1, "batch_size": 4, "threads": 1},
        "evaluation": {"max_detections": 5},
    }
    train_detector(DetectorRecipe.from_dict(recipe), folder)
    return folder


@pytest.fixture
def trained(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "trained"))


def saved_test_metrics(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["test"]
    return figures


def test_evaluation_reproduces_test_metrics_of_run_by_function_and_command(
    trained: Path, scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = saved_test_metrics(trained)
    assert expected["recall_50"] > 50
    assert 0 < expected["attribute_accuracy"] < 100
    found = evaluate_detector(str(trained), scenes_folder)
    assert found.to_dict() == expected
    annotations = json.loads((scenes_folder / "annotations/instances_test.json").read_text())
    assert sum(found.boxes.values()) == len(annotations["annotations"])

    assert exit_status("eval-detector", str(trained), str(scenes_folder), "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == expected
    assert captured.err == ""

    assert exit_status("eval-detector", str(trained), str(scenes_folder), "--limit", "2") == 0
    captured = capsys.readouterr()
    assert "split test: 2 images" in captured.out
    assert "AP@0.5 circle" in captured.out
    assert "2/2" in captured.err


def test_given_recipe_takes_precedence_over_saved_recipe(
    trained: Path, scenes_folder: Path, tiny_recipe: Make, tmp_path: Path
) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(tiny_recipe(data={"attributes": "none", "attribute_keys": None}, evaluation={}).to_yaml())
    found = evaluate_detector(str(trained), scenes_folder, recipe=path).to_dict()
    assert found["attribute_accuracy"] is None
    (trained / "recipe.resolved.yaml").unlink()
    by_default = evaluate_detector(str(trained), scenes_folder).to_dict()
    # Without keys the attributes' words come in the record's order, of which the detector knows no name.
    assert by_default == found


def test_detector_is_evaluated_on_visual_genome_format(
    trained: Path, scenes_folder: Path, tmp_path: Path
) -> None:
    genome = visual_genome_from(scenes_folder, tmp_path / "genome", ending="jpg")
    found = evaluate_detector(str(trained), genome, "train")
    expected = evaluate_detector(str(trained), scenes_folder, "train", 8)
    assert (found.images, expected.images) == (8, 8)
    # The same pictures and boxes; but here each word is an attribute, of which the detector knows none.
    assert found.to_dict() == expected.to_dict() | {"attribute_accuracy": None}


def test_published_detector_is_scored_by_its_published_vocabularies(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / DETECTOR_NAME
    write_small_published_detector(folder)
    names = ["circle,disc", "heart", *(f"thing {number}" for number in range(1598))]
    words = [f"attribute {number}" for number in range(400)]
    for path, listed in (("objects.txt", names), ("attributes.txt", words)):
        (tmp_path / path).write_text("\n".join(listed) + "\n")
    monkeypatch.setattr(published.PublishedFile, "fetch", lambda file: tmp_path / _name_of(file))
    monkeypatch.setattr("lxmert.training.detection.saved_detector.detector_folder", lambda name: str(folder))
    found = evaluate_detector(DETECTOR_NAME, scenes_folder, limit=2).to_dict()
    assert found["average_precision_50"].keys() <= {"circle", "heart"}
    assert found["average_precision_50"]

    with pytest.raises(ConfigurationError, match=r"its 1600 object classes have no names.*object_vocabulary"):
        evaluate_detector(str(folder), scenes_folder)


def _name_of(file: published.PublishedFile) -> str:
    return "objects.txt" if "objects" in file.name else "attributes.txt"


def test_vocabulary_of_other_classes_is_rejected(
    trained: Path, scenes_folder: Path, tiny_recipe: Make, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("heart\ncircle\n")
    recipe = tiny_recipe(data={"object_vocabulary": str(tmp_path / "names.txt")})
    (trained / "recipe.resolved.yaml").write_text(recipe.to_yaml())
    with pytest.raises(ConfigurationError, match="its 2 names do not match the 6 object classes"):
        evaluate_detector(str(trained), scenes_folder)


def test_detector_trained_with_vocabulary_is_evaluated_where_its_file_is_missing(
    trained: Path,
    scenes_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = saved_test_metrics(trained)
    config = json.loads((trained / "config.json").read_text())
    recipe_path = trained / "recipe.resolved.yaml"
    values = yaml.safe_load(recipe_path.read_text())
    for kind in ("object", "attribute"):
        (tmp_path / f"{kind}s.txt").write_text("\n".join(config[f"{kind}_names"]) + "\n")
        values["data"][f"{kind}_vocabulary"] = f"{kind}s.txt"  # Relative to the folder of the training.
    recipe_path.write_text(yaml.safe_dump(values))

    monkeypatch.chdir(tmp_path)
    assert evaluate_detector(str(trained), scenes_folder).to_dict() == expected
    assert caplog.text == ""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert evaluate_detector(str(trained), scenes_folder).to_dict() == expected
    for name in ("objects.txt", "attributes.txt"):
        assert f"{name}: no such file, so the names in the detector are used, without synonyms" in caplog.text
    # A recipe that the caller names must be complete.
    with pytest.raises(DataError, match=r"objects\.txt"):
        evaluate_detector(str(trained), scenes_folder, recipe=recipe_path)


@pytest.mark.parametrize(
    ("detector", "data", "split", "error", "message"),
    [
        ("scenes", "nowhere", "test", DataError, "nowhere: no such data directory"),
        ("scenes", "", "dev", DataError, "instances_dev.json: no such file"),
        ("no-detector/here at all", "", "test", WeightsError, "no-detector/here at all"),
        ("empty", "", "test", WeightsError, "no detector here"),
    ],
)
def test_wrong_inputs_are_reported_in_one_line(
    scenes_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    detector: str,
    data: str,
    split: str,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    directory = data or str(scenes_folder)
    with pytest.raises(error, match=message):
        evaluate_detector(detector, directory, split)
    assert exit_status("eval-detector", detector, directory, "--split", split) == 1
    errors = capsys.readouterr().err.strip()
    assert errors.splitlines()[-1].startswith("lxmert: error: ")

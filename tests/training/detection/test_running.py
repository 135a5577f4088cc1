"""Runs from recipe to model folder, on made scenes and on Visual Genome files, broken off and resumed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.errors import ConfigurationError, DataError
from lxmert.training.detection.evaluation import evaluation_settings
from lxmert.training.detection.preparation import prepare_detection
from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.training.detection.running import train_detector
from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnExtractor
from lxmert.vision.images import load_image
from tests.training.detection.genome import visual_genome_from
from tests.training.interruption import Interrupted, assert_same_weights, weights

Make = Callable[..., DetectorRecipe]


def progress_bars(recipe: DetectorRecipe) -> set[str]:
    """The names of the progress bars shown while a run is prepared."""
    bars: set[str] = set()

    def start(name: str, total: int) -> Callable[[int], None]:
        bars.add(name)
        return lambda done: None

    prepare_detection(recipe, start)
    return bars


def without_runtimes(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for epoch in epochs:
        epoch["validation"].pop("runtime")
    return epochs


def test_run_lowers_loss_and_saves_detector(tiny_recipe: Make, tmp_path: Path, scenes_folder: Path) -> None:
    recipe = tiny_recipe(
        optimisation={"epochs": 20, "peak_learning_rate": 1e-2},
        # Seen in training: so little is learned that it would not carry over.
        data={"validation_split": "train", "test_split": "test"},
        augmentation={"min_sizes_px": []},
        saving={"weights_dtype": "float16", "log_every_steps": 3},
    )
    result = train_detector(recipe, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "model.safetensors",
        "metrics.json",
        "recipe.resolved.yaml",
        "checkpoints",
    }
    assert DetectorRecipe.from_yaml(tmp_path / "out" / "recipe.resolved.yaml") == recipe
    epochs = result.metrics["epochs"]
    # 12 images in batches of 5: three steps an epoch.
    assert [(epoch["epoch"], epoch["step"]) for epoch in epochs] == [(n, 3 * n) for n in range(1, 21)]
    assert epochs[-1]["train"]["loss"] < 0.7 * epochs[0]["train"]["loss"]
    parts = {name: value for name, value in epochs[0]["train"].items() if name != "loss"}
    assert sorted(parts) == [
        f"loss_{name}"
        for name in ("attribute", "object_box", "object_class", "proposal_box", "proposal_class")
    ]
    parts["loss_attribute"] *= recipe.losses.weights.attribute
    assert sum(parts.values()) == pytest.approx(epochs[0]["train"]["loss"], rel=1e-4)
    best = max(epoch["validation"]["map_50"] for epoch in epochs)
    assert result.validation_map_50 == best > 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result.metrics
    assert result.metrics["data"]["train_images"] == 12
    assert result.metrics["training"]["steps"] == 60

    # Stored small, loaded as float32, complete, and ready for use.
    assert weights(tmp_path / "out")["backbone.stem.conv1.weight"].dtype == torch.float16
    model = FasterRcnn.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    assert type(model) is FasterRcnn
    assert json.loads((tmp_path / "out/config.json").read_text())["architectures"] == ["FasterRcnn"]
    assert set(model.config.object_names) <= {"circle", "cross", "heart", "square", "star", "triangle"}
    assert all(len(name.split()) == 3 for name in model.config.attribute_names)
    test = result.test
    assert test is not None
    assert (test["split"], test["images"]) == ("test", 4)
    assert set(test["average_precision_50"]) <= set(model.config.object_names)
    picture = next((scenes_folder / "images/test").iterdir())
    (regions,) = FasterRcnnExtractor(str(tmp_path / "out"))([load_image(picture)])
    assert regions.features.shape[1] == model.config.feature_dim


def test_evaluation_settings_raise_object_limit_and_drop_score_threshold() -> None:
    model = FasterRcnn.config_class(
        detection_nms_thresholds=(0.3, 0.6), min_objects=5, max_objects=9, score_threshold=0.4
    )
    settings = evaluation_settings(model, 100)
    assert settings.nms_thresholds == (0.3, 0.6)
    assert (settings.min_objects, settings.max_objects, settings.score_threshold) == (5, 100, None)
    assert settings.delta_weights == (10, 10, 5, 5)
    assert evaluation_settings(model, 3).min_objects == 3


@pytest.mark.parametrize("every_steps", [None, 2])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], every_steps: int | None
) -> None:
    select = "best" if every_steps is None else "last"
    recipe = tiny_recipe(saving={"checkpoint_every_steps": every_steps, "select": select})
    whole = train_detector(recipe, tmp_path / "whole")
    interrupt_at(5)
    with pytest.raises(Interrupted):
        train_detector(recipe, tmp_path / "broken")
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    interrupt_at(-1)
    resumed = train_detector(recipe, tmp_path / "broken", resume=True)
    # Epochs end at 3 and 6; steps are kept at 2 and 4.
    assert resumed.metrics["training"]["resumed_at_step"] == (3 if every_steps is None else 4)
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert without_runtimes(resumed.metrics["epochs"]) == without_runtimes(whole.metrics["epochs"])


@pytest.mark.parametrize(("split", "changed"), [("train", "training"), ("val", "validation")])
def test_resume_with_other_boxes_is_rejected(
    tiny_recipe: Make,
    tmp_path: Path,
    scenes_folder: Path,
    interrupt_at: Callable[[int], None],
    split: str,
    changed: str,
) -> None:
    directory = tmp_path / "data"
    shutil.copytree(scenes_folder, directory)
    recipe = tiny_recipe(data={"directory": str(directory), "test_split": None})
    interrupt_at(5)
    with pytest.raises(Interrupted):
        train_detector(recipe, tmp_path / "out")
    interrupt_at(-1)
    path = directory / f"annotations/instances_{split}.json"
    text = path.read_text()
    content = json.loads(text)
    content["annotations"][0]["bbox"][2] -= 1
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=f"they differ in the {changed} images; restore"):
        train_detector(recipe, tmp_path / "out", resume=True)
    path.write_text(text)
    assert train_detector(recipe, tmp_path / "out", resume=True).metrics["training"]["resumed_at_step"] == 3


def test_loader_processes_do_not_change_the_result(tiny_recipe: Make, tmp_path: Path) -> None:
    short = {"epochs": 1}
    train_detector(tiny_recipe(optimisation=short), tmp_path / "one")
    train_detector(tiny_recipe(optimisation={"loader_processes": 2}), tmp_path / "two")
    assert_same_weights(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_another_recipe_cannot_resume_a_run_and_a_finished_one_is_returned(
    tiny_recipe: Make, tmp_path: Path
) -> None:
    recipe = tiny_recipe(optimisation={"epochs": 0.3})
    first = train_detector(recipe, tmp_path / "out")
    assert first.test is None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises(ConfigurationError, match="is not empty; add --resume"):
        train_detector(recipe, tmp_path / "out")
    with pytest.raises(ConfigurationError, match=r"losses.rois.per_image: 9 here, 12 there"):
        train_detector(tiny_recipe(losses={"rois": {"per_image": 9}}), tmp_path / "out", resume=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    # What does not change the result may change.
    again = train_detector(
        tiny_recipe(losses={"rois": {"per_image": 12}}, optimisation={"epochs": 0.3, "loader_processes": 1}),
        tmp_path / "out",
        resume=True,
    )
    assert again.metrics == first.metrics


def test_frozen_parts_stay_and_the_rest_learns(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    short = {"epochs": 0.3, "peak_learning_rate": 1e-2, "warmup": 0}
    train_detector(tiny_recipe(optimisation=short), tmp_path / "first")
    tiny_values["model"] = {
        "from_pretrained": str(tmp_path / "first"),
        "config": {"freeze_at": 2, "freeze_norms": False},
    }
    train_detector(tiny_recipe(data={"attributes": "single"}), tmp_path / "second")
    old, new = weights(tmp_path / "first"), weights(tmp_path / "second")
    moved = {
        name for name in old if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])
    }
    frozen = {name for name in old if name.startswith(("backbone.stem", "backbone.res2"))}
    assert not moved & frozen
    assert {"backbone.res3.0.conv1.weight", "backbone.res3.0.conv1.norm.running_mean"} <= moved
    assert (
        new["roi_heads.box_predictor.attr_score.weight"].shape[0]
        < old["roi_heads.box_predictor.attr_score.weight"].shape[0]
    )


def test_frozen_norms_keep_their_statistics(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    short = {"epochs": 0.3, "peak_learning_rate": 1e-2, "warmup": 0}
    train_detector(tiny_recipe(optimisation=short), tmp_path / "first")
    config = {"freeze_norms": True}
    tiny_values["model"] = {"from_pretrained": str(tmp_path / "first"), "config": config}
    train_detector(tiny_recipe(data={"attributes": "none", "attribute_keys": None}), tmp_path / "second")
    old, new = weights(tmp_path / "first"), weights(tmp_path / "second")
    norms = {name for name in new if ".norm." in name}
    assert_same_weights({name: old[name] for name in norms}, {name: new[name] for name in norms})
    assert not torch.equal(old["backbone.stem.conv1.weight"], new["backbone.stem.conv1.weight"])
    assert not any("attr" in name or "cls_embedding" in name for name in new)
    result = json.loads((tmp_path / "second/metrics.json").read_text())
    assert result["data"]["attributes"] == 0
    assert "attribute_accuracy" not in result["epochs"][0]["validation"]


def test_visual_genome_files_train_a_detector(tiny_recipe: Make, tmp_path: Path, scenes_folder: Path) -> None:
    data = {
        "directory": str(visual_genome_from(scenes_folder, tmp_path / "genome")),
        "format": "visual_genome",
        "attribute_keys": None,
        "visual_genome_files": {"image_name": "{image_id}.png"},
        "train_images": None,
        "validation_images": 2,
        "attribute_vocabulary": str(tmp_path / "attributes.txt"),
    }
    (tmp_path / "attributes.txt").write_text("small\nlarge,big\nred\n")
    recipe = tiny_recipe(data=data, optimisation={"epochs": 0.3})
    assert progress_bars(recipe) >= {
        f"Reading {name}.json (MB)" for name in ("objects", "attributes", "image_data")
    }
    result = train_detector(recipe, tmp_path / "out")
    assert result.metrics["data"]["train_images"] == 8
    assert result.metrics["data"]["validation_images"] == 2
    config = FasterRcnn.from_pretrained(tmp_path / "out").config
    assert config.attribute_names == ["small", "large", "red"]
    assert "shape" not in config.object_names
    assert result.metrics["epochs"][0]["train"]["loss_attribute"] > 0


def test_progress_shows_reading_of_box_annotations(tiny_recipe: Make) -> None:
    splits = {"train_split": "train", "validation_split": "val", "test_split": "val"}
    assert progress_bars(tiny_recipe(data=splits)) == {
        f"Reading instances_{split}.json (MB)" for split in ("train", "val")
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"directory": "nowhere"}, "no such data directory"),
        ({"train_split": "training"}, "instances_training.json: no such file"),
        ({"test_split": "testing"}, "instances_testing.json: no such file"),
        (
            {"coco_files": {"images": "pictures"}},
            r"png: no such image file; 12 of the 12 images of the split train",
        ),
        (
            {"object_vocabulary": "{tmp}/names.txt"},
            "the split train has no box of the selected classes; number of images: 12",
        ),
        ({"object_vocabulary": "{tmp}/none.txt"}, "none.txt: the vocabulary cannot be read"),
        ({"min_count": 10_000}, "has no box of the selected classes"),
    ],
)
def test_invalid_data_raise_data_error_and_leave_folder_reusable(
    tiny_recipe: Make, tmp_path: Path, data: dict[str, Any], message: str
) -> None:
    (tmp_path / "names.txt").write_text("unicorn\n")
    named = {
        key: value.replace("{tmp}", str(tmp_path)) if isinstance(value, str) else value
        for key, value in data.items()
    }
    with pytest.raises(DataError, match=message):
        train_detector(tiny_recipe(data=named), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recipe.resolved.yaml"]


def test_several_processes_are_rejected(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigurationError, match="trained by one process"):
        train_detector(tiny_recipe(), tmp_path / "out")
    assert not (tmp_path / "out").exists()

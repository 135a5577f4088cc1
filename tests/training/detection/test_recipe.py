from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lxmert.errors import ConfigurationError
from lxmert.training.detection import recipe as recipe_module
from lxmert.training.detection.recipe import DetectorRecipe, LossWeights
from lxmert.training.included_recipes import included_recipes

SMALLEST: dict[str, Any] = {"model": {}, "data": {"directory": "boxes"}}
CONFIG = included_recipes()["scenes_detector"]


def test_all_faults_are_reported_together() -> None:
    values = {
        "model": {"config": {"max_objects": 2, "min_objects": 3, "pooling": "mean"}},
        "data": {"format": "voc", "coco_files": {"images": "{part}"}, "attribute_keys": []},
        "augmentation": {"mirror_share": 2, "min_sizes_px": [400, 0]},
        "losses": {"anchors": {"negative_below": 0.8}, "weights": {"object": 1}},
        "optimisation": {"compile": True, "epochs": 0},
        "evaluation": {"max_detections": 0},
        "saving": {"select": "best", "checkpoint_every_steps": 3},
        "loss": "mse",
    }
    with pytest.raises(ConfigurationError) as caught:
        DetectorRecipe.from_dict(values, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: 14 faults: ")
    for part in (
        "min_objects 3 is more than max_objects 2",
        "pooling must be one of max, align",
        "data.directory: Field required",
        "data.format",
        "(got 'voc')",
        "images contains {part}, but only {split} can be used there",
        "data.attribute_keys",
        "augmentation.mirror_share",
        "augmentation.min_sizes_px.1",
        "negative_below 0.8 is more than positive_from 0.7",
        "losses.weights.object",
        "optimisation.compile",
        "optimisation.epochs",
        "evaluation.max_detections",
        "select: best requires one checkpoint per validation",
        "; loss: ",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"model": {"config": {"num_object_labels": 3}}}, "num_object_labels must not be set"),
        ({"model": {"config": {"object_names": ["a"]}}}, "object_names must not be set"),
        ({"model": {"config": {"stem_chanels": 3}}}, "stem_chanels: not a parameter of FasterRcnnConfig"),
        ({"losses": {"anchors": {"per_image": 1}}}, "0.5 of per_image 1 is less than one positive"),
        ({"losses": {"rois": {"positive_share": 0.01}}}, "0.01 of per_image 64 is less than one positive"),
        (
            {"losses": {"anchors": {"negative_below": 0}}},
            r"losses\.anchors\.negative_below: Input should be greater than 0",
        ),
        (
            {"losses": {"weights": dict.fromkeys(LossWeights.model_fields, 0)}},
            "every loss has weight 0: there is nothing to learn",
        ),
        (
            {"augmentation": {"min_sizes_px": [16, 15]}},
            r"augmentation\.min_sizes_px\.1: Input should be greater than or equal to 16",
        ),
        ({"model": {"config": {"kwargs": 3}}}, "kwargs: not a parameter of FasterRcnnConfig"),
        ({"model": {"config": {"anchor_sizes_px": 24}}}, "anchor_sizes_px is 24, expected a list"),
        (
            {"data": {"directory": "d", "attributes": "none", "attribute_keys": ["color"]}},
            "learns no attributes",
        ),
        (
            {"data": {"directory": "d", "attributes": "none", "attribute_vocabulary": "a"}},
            "learns no attributes",
        ),
        ({"data": {"directory": "d", "visual_genome_files": {"sizes": "{image_id}"}}}, "sizes contains"),
    ],
)
def test_contradictions_are_rejected(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DetectorRecipe.from_dict(SMALLEST | section)


def test_config_for_pretrained_detector_is_not_checked_against_defaults() -> None:
    # Alone this would be too many for the default of at most 36.
    model = {"from_pretrained": "somewhere", "config": {"min_objects": 40}}
    assert DetectorRecipe.from_dict(SMALLEST | {"model": model}).model.config == {"min_objects": 40}
    with pytest.raises(ConfigurationError, match="min_objects 40 is more than max_objects 36"):
        DetectorRecipe.from_dict(SMALLEST | {"model": {"config": {"min_objects": 40}}})


@pytest.mark.parametrize("name", LossWeights.model_fields)
def test_one_loss_alone_may_be_trained(name: str) -> None:
    weights = dict.fromkeys(LossWeights.model_fields, 0.0) | {name: 0.1}
    assert DetectorRecipe.from_dict(
        SMALLEST | {"losses": {"weights": weights}}
    ).losses.weights == LossWeights(**weights)


def test_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = DetectorRecipe.from_dict(SMALLEST | {"losses": {"rois": {"per_image": 7}}})
    (tmp_path / "r.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    again = DetectorRecipe.from_yaml(tmp_path / "r.yaml")
    assert again == recipe
    assert again.losses.anchors.smooth_l1_beta == 1 / 9
    assert recipe.differences(DetectorRecipe.from_dict(SMALLEST)) == [
        "losses.rois.per_image: 7 here, 64 there"
    ]


def test_every_field_is_described() -> None:
    sections = [
        value
        for value in vars(recipe_module).values()
        if isinstance(value, type) and issubclass(value, BaseModel)
    ]
    assert len(sections) >= 10
    bare = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.description
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]
    assert bare == []


def test_shipped_recipe_is_valid_and_has_header_comments() -> None:
    recipe = DetectorRecipe.from_yaml(CONFIG)
    assert recipe.model.config["detection_nms_thresholds"] == [0.3]
    header = CONFIG.read_text(encoding="utf-8")
    for word in (
        "Purpose:",
        "Hardware:",
        "Launch:",
        "Expected",
        "lxmert train-detector --config scenes_detector\n",
    ):
        assert word in header

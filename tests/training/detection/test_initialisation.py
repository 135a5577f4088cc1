"""The detector that a run starts from: new, or pretrained with its heads adapted to the data's classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lxmert.data.box_annotations import BoxVocabulary, NameList
from lxmert.errors import ConfigurationError, WeightsError
from lxmert.training.detection.initialisation import build_detector
from lxmert.training.detection.model import DetectorInTraining
from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.vision.faster_rcnn import FasterRcnn
from lxmert.vision.faster_rcnn.extractor import detector_folder
from tests.vision.faster_rcnn.random_detectors import random_detector

PREDICTOR = "roi_heads.box_predictor"
OBJECTS = [f"thing {number}" for number in range(7)]
ATTRIBUTES = [f"kind {number}" for number in range(5)]
Pretrained = Callable[..., Path]


@pytest.fixture
def pretrained(tmp_path: Path) -> Pretrained:
    """Writes a detector of seven classes and five attributes."""

    def write(**changes: Any) -> Path:
        names = {"object_names": OBJECTS, "attribute_names": ATTRIBUTES}
        random_detector(**(names | changes)).save_pretrained(tmp_path / "pretrained")
        return tmp_path / "pretrained"

    return write


def vocabulary(objects: list[str], attributes: list[str]) -> BoxVocabulary:
    return BoxVocabulary(NameList.from_names(objects), NameList.from_names(attributes))


def detector(
    objects: list[str], attributes: list[str], folder: Path | str | None = None, **config: Any
) -> DetectorInTraining:
    model = {"from_pretrained": None if folder is None else str(folder), "config": config}
    recipe = DetectorRecipe.from_dict({"model": model, "data": {"directory": "d"}})
    torch.manual_seed(99)  # other random weights than the pretrained ones
    return build_detector(recipe, vocabulary(objects, attributes))


def changed_layers(model: DetectorInTraining, folder: Path) -> set[str]:
    """The layers whose weights are not those of the folder."""
    old, new = FasterRcnn.from_pretrained(folder).state_dict(), model.state_dict()
    return {
        name.rpartition(".")[0]
        for name, tensor in new.items()
        if name not in old or old[name].shape != tensor.shape or not torch.equal(old[name], tensor)
    }


SMALL = {
    "stem_channels": 8,
    "res2_channels": 8,
    "width_per_group": 4,
    "stage_blocks": [1, 1, 0, 1],
    "feature_stage": "res3",
    "proposal_channels": 8,
}


def test_training_starts_from_backbone_of_embedded_detector() -> None:
    model = detector(["cup"], ["red"], "scenes")
    embedded = Path(detector_folder("scenes"))
    assert not any(name.startswith("backbone.") for name in changed_layers(model, embedded))


def test_new_detector_trains_all_weights_and_stores_class_names() -> None:
    model = detector(["cup", "dog"], ["red"], **SMALL)
    assert all(weights.requires_grad for weights in model.parameters())
    model.train()
    assert all(module.training for module in model.modules())
    assert (model.config.num_object_labels, model.config.object_names) == (2, ["cup", "dog"])
    assert (model.config.num_attr_labels, model.config.attribute_names) == (1, ["red"])
    without = detector(["cup"], [], **SMALL)
    assert (without.config.num_attr_labels, without.config.attribute_names) == (0, None)
    assert not hasattr(without.roi_heads.box_predictor, "attr_score")


def test_pretrained_detector_of_same_names_keeps_all_weights(pretrained: Pretrained) -> None:
    folder = pretrained()
    model = detector(OBJECTS, ATTRIBUTES, folder)
    assert changed_layers(model, folder) == set()
    assert model.config.min_size_px == 96


def test_pretrained_detector_without_names_of_same_size_keeps_all_weights(pretrained: Pretrained) -> None:
    folder = pretrained(object_names=None, attribute_names=None)
    assert changed_layers(detector(OBJECTS, ATTRIBUTES, folder), folder) == set()


CLASS_LAYERS = {f"{PREDICTOR}.{layer}" for layer in ("cls_score", "bbox_pred", "cls_embedding")}


@pytest.mark.parametrize("objects", [OBJECTS[:4], OBJECTS[::-1]], ids=["fewer", "others"])
def test_class_heads_are_reinitialised_for_other_classes(pretrained: Pretrained, objects: list[str]) -> None:
    folder = pretrained()
    model = detector(objects, ATTRIBUTES, folder)
    assert changed_layers(model, folder) == CLASS_LAYERS
    assert model.roi_heads.box_predictor.cls_score.out_features == len(objects) + 1


def test_attribute_head_is_reinitialised_for_other_attributes(pretrained: Pretrained) -> None:
    folder = pretrained()
    assert changed_layers(detector(OBJECTS, ["red", "wet"], folder), folder) == {f"{PREDICTOR}.attr_score"}
    assert changed_layers(detector(OBJECTS, ATTRIBUTES[::-1], folder), folder) == {f"{PREDICTOR}.attr_score"}
    assert detector(OBJECTS, [], folder).config.num_attr_labels == 0


def test_attribute_layers_are_added_to_detector_without_attributes(pretrained: Pretrained) -> None:
    folder = pretrained(num_attr_labels=0, attribute_names=None)
    assert changed_layers(detector(OBJECTS, ["red"], folder), folder) == {
        f"{PREDICTOR}.{layer}" for layer in ("cls_embedding", "fc_attr", "attr_score")
    }


def test_freezing_follows_pretrained_detector_unless_configured(pretrained: Pretrained) -> None:
    folder = pretrained(freeze_norms=True, freeze_at=2)
    model = detector(OBJECTS, ATTRIBUTES, folder).train()
    assert not any(weights.requires_grad for weights in model.backbone.stem.parameters())
    assert not any(weights.requires_grad for weights in model.backbone.res2.parameters())
    assert model.backbone.res3[0].conv1.weight.requires_grad
    assert not model.backbone.res3[0].conv1.norm.weight.requires_grad
    assert not model.backbone.res3[0].conv1.norm.training

    model = detector(OBJECTS, ATTRIBUTES, folder, freeze_norms=False, freeze_at=1).train()
    assert not model.backbone.stem.conv1.weight.requires_grad
    # The statistics of a frozen stage stay, too.
    assert not model.backbone.stem.conv1.norm.training
    assert model.backbone.res2[0].conv1.weight.requires_grad
    assert model.backbone.res2[0].conv1.norm.training


def test_recipe_anchor_sizes_replace_pretrained_ones_of_same_number(pretrained: Pretrained) -> None:
    folder = pretrained()
    model = detector(OBJECTS, ATTRIBUTES, folder, anchor_sizes_px=[10, 20, 40])
    areas = model.proposal_generator.anchor_generator.per_cell_xyxy
    sides = ((areas[:, 2] - areas[:, 0]) * (areas[:, 3] - areas[:, 1])).sqrt()
    torch.testing.assert_close(sides, torch.tensor([10.0, 20, 40]).repeat_interleave(3))


def test_architecture_unlike_pretrained_detector_is_rejected(pretrained: Pretrained) -> None:
    folder = pretrained()
    with pytest.raises(ConfigurationError, match=r"changes the architecture .* weights do not fit"):
        detector(OBJECTS, ATTRIBUTES, folder, proposal_channels=10)
    with pytest.raises(ConfigurationError, match="changes the architecture"):
        detector(OBJECTS, ATTRIBUTES, folder, anchor_sizes_px=[10, 20])
    with pytest.raises(ConfigurationError, match="min_objects 90 is more than max_objects 10"):
        detector(OBJECTS, ATTRIBUTES, folder, min_objects=90)


def test_folder_without_pretrained_detector_raises_weights_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="no detector here"):
        detector(OBJECTS, ATTRIBUTES, tmp_path / "empty")

"""The loss of a step: its parts, its gradients, and that padding does not affect it."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lxmert.training.detection.collation import NO_BOX, DetectionExample, collate
from lxmert.training.detection.losses import NO_ATTRIBUTE
from lxmert.training.detection.model import DetectorInTraining
from lxmert.training.detection.recipe import LossSection
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.geometry import iou
from tests.training.detection.conftest import TINY

PARTS = ("proposal_class", "proposal_box", "object_class", "object_box", "attribute")


def detector(settings: dict[str, Any] | None = None, **config: Any) -> DetectorInTraining:
    torch.manual_seed(0)
    values = TINY | {"num_object_labels": 3, "num_attr_labels": 4, "freeze_norms": True, "freeze_at": 0}
    model = DetectorInTraining(FasterRcnnConfig(**(values | config)), LossSection(**(settings or {})))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.05)
    return model.train()


def example(height: int, width: int, boxes: list[list[float]]) -> DetectionExample:
    generator = torch.Generator().manual_seed(height)
    count = len(boxes)
    return DetectionExample(
        torch.randn(3, height, width, generator=generator),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.arange(count) % 3,
        torch.tensor([1, NO_ATTRIBUTE, 2, 3][:count], dtype=torch.int64),
    )


EXAMPLES = [
    example(64, 80, [[4, 4, 20, 22], [40, 30, 60, 50]]),
    example(48, 96, [[10, 8, 30, 30]]),
    example(72, 56, []),
]


def test_loss_is_weighted_sum_of_its_parts() -> None:
    weights = {
        "proposal_class": 1.0,
        "proposal_box": 2.0,
        "object_class": 3.0,
        "object_box": 0.5,
        "attribute": 0.0,
    }
    outputs = detector({"weights": weights})(**collate(EXAMPLES))
    assert set(outputs.parts) == set(PARTS)
    assert all(value > 0 and not value.requires_grad for value in outputs.parts.values())
    expected = sum(weights[name] * value.item() for name, value in outputs.parts.items())
    assert outputs.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part", PARTS)
def test_each_loss_part_has_gradients_in_its_own_layers(part: str) -> None:
    model = detector({"weights": {name: float(name == part) for name in PARTS}})
    model(**collate(EXAMPLES)).loss.backward()
    moved = {
        name
        for name, weights in model.named_parameters()
        if weights.grad is not None and weights.grad.abs().sum() > 0
    }
    head, predictor = "proposal_generator.rpn_head", "roi_heads.box_predictor"
    own = {
        "proposal_class": f"{head}.objectness_logits.weight",
        "proposal_box": f"{head}.anchor_deltas.weight",
        "object_class": f"{predictor}.cls_score.weight",
        "object_box": f"{predictor}.bbox_pred.weight",
        "attribute": f"{predictor}.attr_score.weight",
    }
    assert "backbone.stem.conv1.weight" in moved
    assert own[part] in moved
    assert not moved & (set(own.values()) - {own[part]})
    # Nothing flows from the second stage through where the proposals lie.
    assert (f"{head}.conv.weight" in moved) == part.startswith("proposal")


def test_detector_without_attributes_has_no_attribute_loss() -> None:
    outputs = detector(num_attr_labels=0)(**collate(EXAMPLES))
    assert set(outputs.parts) == set(PARTS) - {"attribute"}


def test_images_without_objects_have_only_classification_losses() -> None:
    outputs = detector()(**collate([EXAMPLES[2]] * 3))
    assert outputs.parts["proposal_class"] > 0
    assert outputs.parts["object_class"] > 0
    for name in ("proposal_box", "object_box", "attribute"):
        assert outputs.parts[name] == 0
    outputs.loss.backward()


def test_proposal_loss_of_image_does_not_depend_on_its_batch() -> None:
    # So many are drawn that all are, and no random choice is left.
    every = {"per_image": 100_000, "positive_share": 0.99}
    model = detector({"anchors": every, "rois": every})
    small, large = example(48, 48, [[8, 8, 30, 30]]), example(64, 96, [[4, 4, 20, 22], [40, 30, 60, 50]])
    batch = collate([small, large])
    maps = model.feature_map(batch["pixel_values"])
    logits, _ = model.proposal_scores(maps)
    anchors = model.anchors(*maps.shape[2:])
    # By hand: the mean over both images of the anchors that are inside and neither here nor there.
    terms = []
    for row, one in enumerate((small, large)):
        height, width = one.pixel_values.shape[1:]
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        overlaps = iou(anchors, one.boxes_xyxy).max(dim=1).values
        inside = (centres[:, 0] < width) & (centres[:, 1] < height)
        best = (iou(anchors[inside], one.boxes_xyxy).max(dim=0).values == iou(anchors, one.boxes_xyxy)).any(
            dim=1
        )
        positive = inside & ((overlaps >= 0.7) | best)
        negative = inside & ~positive & (overlaps < 0.3)
        terms += [-F.logsigmoid(logits[row][positive]), -F.logsigmoid(-logits[row][negative])]
    expected = torch.cat(terms).mean()
    assert model(**batch).parts["proposal_class"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert batch["object_ids"][0].tolist() == [0, NO_BOX]


def test_loss_is_repeatable_with_seed_and_varies_with_sampling() -> None:
    model, batch = detector({"rois": {"per_image": 4}, "anchors": {"per_image": 6}}), collate(EXAMPLES)
    losses = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        losses.append(model(**batch).loss.item())
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_half_precision_keeps_losses_in_float32() -> None:
    model, batch = detector(), collate(EXAMPLES)
    torch.manual_seed(1)
    full = model(**batch).loss
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**batch)
    assert outputs.loss.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in outputs.parts.values())
    # Proposals may differ a little, and with them what is drawn.
    assert outputs.loss.item() == pytest.approx(full.item(), rel=0.2)
    outputs.loss.backward()

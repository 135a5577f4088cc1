"""Training targets of anchors and RoIs: sample counts, box deltas, and no effect of a batch's padding."""

import math

import pytest
import torch

from lxmert.training.detection.losses import NO_ATTRIBUTE
from lxmert.training.detection.recipe import AnchorSamplingSection, RoiSamplingSection
from lxmert.training.detection.targets import GroundTruth, sample_anchors, sample_rois
from lxmert.vision.faster_rcnn.anchors import cell_anchors, grid_anchors
from lxmert.vision.faster_rcnn.box_coding import decode_boxes
from lxmert.vision.geometry import iou

UNIT = (1.0, 1.0, 1.0, 1.0)
PUBLISHED = (10.0, 10.0, 5.0, 5.0)
TRUTH = GroundTruth(
    torch.tensor([[8.0, 8, 24, 24], [40.0, 4, 58, 20]]),
    torch.tensor([3, 1]),
    torch.tensor([7, NO_ATTRIBUTE]),
)
NOTHING = GroundTruth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def anchors(height: int, width: int) -> torch.Tensor:
    return grid_anchors(cell_anchors([16], [0.5, 1.0, 2.0]), height, width, 8)


def test_positive_anchors_decode_to_their_boxes() -> None:
    grid = anchors(4, 8)
    settings = AnchorSamplingSection(per_image=40)
    targets = sample_anchors(grid, TRUTH, (32, 64), settings, PUBLISHED)
    decoded = decode_boxes(targets.target_deltas, grid[targets.positive], PUBLISHED)
    overlaps = iou(grid[targets.positive], TRUTH.boxes_xyxy)
    torch.testing.assert_close(decoded, TRUTH.boxes_xyxy[overlaps.argmax(dim=1)], atol=1e-4, rtol=0)
    # Every box has an anchor, and no negative one touches a box by 0.3 or more.
    assert set(overlaps.argmax(dim=1).tolist()) == {0, 1}
    assert iou(grid[targets.negative], TRUTH.boxes_xyxy).max() < 0.3
    assert len(targets.positive) + len(targets.negative) == 40


def test_anchor_deltas_match_hand_computation() -> None:
    # One square anchor of 16 px centred at (8, 8); the box is twice as wide and shifted by 4 px.
    grid = torch.tensor([[0.0, 0, 16, 16]])
    truth = GroundTruth(torch.tensor([[-4.0, 2, 28, 18]]), torch.tensor([0]), torch.tensor([0]))
    settings = AnchorSamplingSection(per_image=2)
    targets = sample_anchors(grid, truth, (20, 30), settings, PUBLISHED)
    expected = [10 * 4 / 16, 10 * 2 / 16, 5 * math.log(2), 0]
    assert targets.target_deltas[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_anchors_centred_in_padding_are_not_sampled() -> None:
    # The same image alone (4 × 6 cells) and in a batch with a larger one (6 × 9 cells). The box at the edge
    # overlaps anchors beyond the edge more than any inside it.
    edge = GroundTruth(torch.tensor([[40.0, 20, 48, 32]]), torch.tensor([0]), torch.tensor([0]))
    settings = AnchorSamplingSection(per_image=400)
    drawn = []
    for cells in ((4, 6), (6, 9)):
        grid = anchors(*cells)
        targets = sample_anchors(grid, edge, (32, 48), settings, UNIT)
        drawn.append(
            tuple(sorted(map(tuple, grid[some].tolist())) for some in (targets.positive, targets.negative))
        )
        assert len(targets.positive) > 0
    assert drawn[0] == drawn[1]


def test_image_without_objects_is_all_background() -> None:
    targets = sample_anchors(anchors(4, 8), NOTHING, (32, 64), AnchorSamplingSection(per_image=10), UNIT)
    assert (len(targets.positive), len(targets.negative)) == (0, 10)
    assert targets.target_deltas.shape == (0, 4)
    rois = sample_rois(anchors(4, 8), NOTHING, RoiSamplingSection(per_image=6), UNIT, background=9)
    assert rois.object_ids.tolist() == [9] * 6
    assert rois.attribute_ids.tolist() == [NO_ATTRIBUTE] * 6
    assert (rois.boxes_xyxy.shape, rois.target_deltas.shape) == ((6, 4), (0, 4))


def test_rois_have_class_attribute_and_deltas_of_their_box() -> None:
    proposals = torch.tensor([[9.0, 9, 25, 25], [41.0, 4, 59, 20], [0.0, 0, 4, 4], [30.0, 20, 34, 30]])
    settings = RoiSamplingSection(per_image=8, positive_share=0.5)
    rois = sample_rois(proposals, TRUTH, settings, PUBLISHED, background=5)
    # Four positives (two proposals, two true boxes) first, then the two that touch nothing.
    assert len(rois.boxes_xyxy) == 6
    assert sorted(rois.object_ids[:4].tolist()) == [1, 1, 3, 3]
    assert rois.object_ids[4:].tolist() == [5, 5]
    for class_id, attribute_id in zip(rois.object_ids.tolist(), rois.attribute_ids.tolist(), strict=True):
        assert attribute_id == (7 if class_id == 3 else NO_ATTRIBUTE)
    decoded = decode_boxes(rois.target_deltas, rois.boxes_xyxy[:4], PUBLISHED)
    wanted = torch.stack([TRUTH.boxes_xyxy[0 if number == 3 else 1] for number in rois.object_ids[:4]])
    torch.testing.assert_close(decoded, wanted, atol=1e-4, rtol=0)


def test_true_boxes_are_among_the_candidates() -> None:
    rois = sample_rois(torch.zeros(0, 4), TRUTH, RoiSamplingSection(per_image=8), UNIT, background=5)
    assert sorted(rois.boxes_xyxy.tolist()) == sorted(TRUTH.boxes_xyxy.tolist())
    assert rois.target_deltas.abs().max() < 1e-6


def test_positives_are_limited_to_their_share() -> None:
    proposals = TRUTH.boxes_xyxy.repeat(10, 1)
    settings = RoiSamplingSection(per_image=8, positive_share=0.25)
    rois = sample_rois(proposals, TRUTH, settings, UNIT, background=5)
    # No background among the candidates, so the rest stays empty.
    assert len(rois.object_ids) == 2

"""The sampled anchors and RoIs of one image in a training step, and their targets.

Source: Ren et al. 2015, section 3.1.2 (anchors); Girshick 2015, section 2.3 (RoIs).
Shapes: M anchors, N true boxes, P positive ones among S sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lxmert.training.detection.losses import NO_ATTRIBUTE
from lxmert.training.detection.matching import match_boxes, sample_candidates
from lxmert.training.detection.recipe import AnchorSamplingSection, RoiSamplingSection
from lxmert.vision.faster_rcnn.box_coding import encode_boxes


@dataclass(frozen=True)
class GroundTruth:
    """The true boxes of one image.

    Attributes:
        boxes_xyxy: (N, 4) network pixels.
        object_ids: (N,) int64.
        attribute_ids: (N,) int64, NO_ATTRIBUTE for boxes without.
    """

    boxes_xyxy: Tensor
    object_ids: Tensor
    attribute_ids: Tensor


@dataclass(frozen=True)
class AnchorTargets:
    """The sampled anchors of one image.

    Attributes:
        positive: (P,) int64, indices of anchors.
        negative: (S - P,) int64.
        target_deltas: (P, 4), the corrections that turn the positive ones into their true boxes.
    """

    positive: Tensor
    negative: Tensor
    target_deltas: Tensor


@dataclass(frozen=True)
class RoiTargets:
    """The sampled RoIs of one image, positive ones first.

    Attributes:
        boxes_xyxy: (S, 4) network pixels.
        object_ids: (S,) int64, the number of classes for background.
        attribute_ids: (S,) int64, NO_ATTRIBUTE for background and boxes without.
        target_deltas: (P, 4) as in `AnchorTargets`.
    """

    boxes_xyxy: Tensor
    object_ids: Tensor
    attribute_ids: Tensor
    target_deltas: Tensor


@torch.no_grad()
def sample_anchors(
    anchors_xyxy: Tensor,
    truth: GroundTruth,
    size_hw: tuple[int, int],
    settings: AnchorSamplingSection,
    delta_weights: Sequence[float],
) -> AnchorTargets:
    """Sample anchors (M, 4) of one image, except those centred outside it, as in the padding of a batch.

    Args:
        anchors_xyxy: network pixels.
        truth: the true boxes.
        size_hw: height and width of the image without padding, network pixels.
        settings: thresholds and sample sizes.
        delta_weights: of the corrections, see `encode_boxes`.
    """
    inside = _centred_inside(anchors_xyxy, size_hw).nonzero()[:, 0]
    matches = match_boxes(
        anchors_xyxy[inside],
        truth.boxes_xyxy,
        positive_from=settings.positive_from,
        negative_below=settings.negative_below,
        allow_low_quality_matches=True,
    )
    positives, negatives = sample_candidates(matches.labels, settings.per_image, settings.positive_share)
    positive = inside[positives]
    matched_boxes = truth.boxes_xyxy[matches.targets[positives]]
    return AnchorTargets(
        positive, inside[negatives], encode_boxes(matched_boxes, anchors_xyxy[positive], delta_weights)
    )


@torch.no_grad()
def sample_rois(
    proposals_xyxy: Tensor,
    truth: GroundTruth,
    settings: RoiSamplingSection,
    delta_weights: Sequence[float],
    background: int,
) -> RoiTargets:
    """Sample RoIs of one image; the true boxes are among the candidates.

    Args:
        proposals_xyxy: boxes from the proposal network, network pixels.
        truth: the true boxes.
        settings: thresholds and sample sizes.
        delta_weights: of the corrections, see `encode_boxes`.
        background: its class id.
    """
    candidates = torch.cat([proposals_xyxy, truth.boxes_xyxy])
    matches = match_boxes(
        candidates,
        truth.boxes_xyxy,
        positive_from=settings.positive_from,
        negative_below=settings.positive_from,
    )
    positives, negatives = sample_candidates(matches.labels, settings.per_image, settings.positive_share)
    matched = matches.targets[positives]
    background_ids = torch.full_like(negatives, background), torch.full_like(negatives, NO_ATTRIBUTE)
    return RoiTargets(
        boxes_xyxy=candidates[torch.cat([positives, negatives])],
        object_ids=torch.cat([truth.object_ids[matched], background_ids[0]]),
        attribute_ids=torch.cat([truth.attribute_ids[matched], background_ids[1]]),
        target_deltas=encode_boxes(truth.boxes_xyxy[matched], candidates[positives], delta_weights),
    )


def _centred_inside(boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Which boxes (M, 4) have their centre inside an image of this height and width: (M,) bool."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return (centres < centres.new_tensor([size_hw[1], size_hw[0]])).all(dim=1)

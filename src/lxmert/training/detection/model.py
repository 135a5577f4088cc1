"""A detector with the loss of a training step. Its weights have the names of `FasterRcnn`'s.

Source: Ren et al. 2015 (approximate joint training: no gradient through the proposals' coordinates).
Shapes: B images, H and W network pixels, M anchors, N most true boxes of an image, R RoIs of all images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from lxmert.training.detection.collation import NO_BOX
from lxmert.training.detection.losses import (
    attribute_loss,
    box_loss,
    class_loss,
    objectness_loss,
)
from lxmert.training.detection.recipe import LossSection
from lxmert.training.detection.targets import (
    AnchorTargets,
    GroundTruth,
    RoiTargets,
    sample_anchors,
    sample_rois,
)
from lxmert.vision.faster_rcnn.box_coding import deltas_of_class
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.modeling import FasterRcnn
from lxmert.vision.faster_rcnn.proposals import select_proposals


@dataclass
class DetectorLosses(ModelOutput):
    """The losses of a training step.

    Attributes:
        loss: the weighted sum.
        parts: each loss by name, unweighted and without gradient.
    """

    loss: Tensor | None = None
    parts: dict[str, Tensor] | None = None


class DetectorInTraining(FasterRcnn):
    """`FasterRcnn` whose `forward` returns the losses.

    Args:
        config: its configuration.
        settings: thresholds, samples and weights of the losses; the defaults when None.
    """

    def __init__(self, config: FasterRcnnConfig, settings: LossSection | None = None) -> None:
        super().__init__(config)
        self.settings = settings or LossSection()

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor,
        sizes_hw: Tensor,
        boxes_xyxy: Tensor,
        object_ids: Tensor,
        attribute_ids: Tensor,
    ) -> DetectorLosses:
        """The losses of a batch.

        Anchors and RoIs are sampled with torch's global random numbers.

        Args:
            pixel_values: (B, 3, H, W) normalised, padded with 0 at the right and bottom.
            sizes_hw: (B, 2) int64, sizes without padding.
            boxes_xyxy: (B, N, 4) true boxes, network pixels.
            object_ids: (B, N) classes, NO_BOX for padding.
            attribute_ids: (B, N) attributes, NO_ATTRIBUTE where there is none.
        """
        sizes = [(int(height), int(width)) for height, width in sizes_hw.tolist()]
        truths = [
            GroundTruth(boxes[ids != NO_BOX], ids[ids != NO_BOX], attributes[ids != NO_BOX])
            for boxes, ids, attributes in zip(boxes_xyxy, object_ids, attribute_ids, strict=True)
        ]
        maps = self.feature_map(pixel_values)
        logits, deltas = self.proposal_scores(maps)  # (B, M), (B, M, 4)
        anchors = self.anchors(*maps.shape[2:])
        anchor_targets = [
            sample_anchors(anchors, truth, size_hw, self.settings.anchors, self.config.proposal_delta_weights)
            for truth, size_hw in zip(truths, sizes, strict=True)
        ]
        roi_targets = [
            self._sample_rois(logits[row], deltas[row], anchors, sizes[row], truth)
            for row, truth in enumerate(truths)
        ]
        parts = self._proposal_losses(logits, deltas, anchor_targets) | self._roi_losses(maps, roi_targets)
        weights = self.settings.weights
        loss = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
        return DetectorLosses(loss=loss, parts={name: value.detach() for name, value in parts.items()})

    def _sample_rois(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, size_hw: tuple[int, int], truth: GroundTruth
    ) -> RoiTargets:
        """Sample RoIs of one image among the proposals of its logits (M,) and deltas (M, 4)."""
        proposals, _ = select_proposals(logits, deltas, anchors, size_hw, self.proposal_settings())
        return sample_rois(
            proposals,
            truth,
            self.settings.rois,
            self.config.box_delta_weights,
            background=self.config.num_object_labels,
        )

    def _proposal_losses(
        self, logits: Tensor, deltas: Tensor, targets: Sequence[AnchorTargets]
    ) -> dict[str, Tensor]:
        """Losses of logits (B, M) and deltas (B, M, 4)."""
        # In float32, whatever the precision of matrix products.
        rows = [(logits[row].float(), deltas[row].float(), target) for row, target in enumerate(targets)]
        positive = torch.cat([values[target.positive] for values, _, target in rows])
        negative = torch.cat([values[target.negative] for values, _, target in rows])
        predicted = torch.cat([values[target.positive] for _, values, target in rows])
        target_deltas = torch.cat([target.target_deltas for target in targets])
        beta, sampled = self.settings.anchors.smooth_l1_beta, len(positive) + len(negative)
        return {
            "proposal_class": objectness_loss(positive, negative),
            "proposal_box": box_loss(predicted, target_deltas, beta, sampled),
        }

    def _roi_losses(self, maps: Tensor, targets: Sequence[RoiTargets]) -> dict[str, Tensor]:
        """Losses of the RoIs on the maps (B, C, h, w)."""
        pooled = [
            self.pooler(feature_map)(target.boxes_xyxy)
            for feature_map, target in zip(maps, targets, strict=True)
        ]
        features = self.roi_heads.encode(torch.cat(pooled))  # (R, D), all images at once
        object_ids = torch.cat([target.object_ids for target in targets])
        attribute_ids = torch.cat([target.attribute_ids for target in targets])
        object_logits, attribute_logits, deltas = self.classify(features, object_ids)
        foreground = object_ids < self.config.num_object_labels
        predicted = deltas_of_class(deltas[foreground].float(), object_ids[foreground])
        target_deltas = torch.cat([target.target_deltas for target in targets])
        parts = {
            "object_class": class_loss(object_logits.float(), object_ids),
            "object_box": box_loss(
                predicted, target_deltas, self.settings.rois.smooth_l1_beta, len(object_ids)
            ),
        }
        if attribute_logits is not None:
            parts["attribute"] = attribute_loss(
                attribute_logits[foreground].float(), attribute_ids[foreground]
            )
        return parts

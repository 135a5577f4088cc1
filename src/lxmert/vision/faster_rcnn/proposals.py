"""Selection of proposals by the objectness scores and deltas of the region proposal network.

Source: Ren et al. 2015 (arXiv 1506.01497), section 3; order and ties as in detectron2.

Shapes: K anchors, R proposals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lxmert.errors import TensorError
from lxmert.vision.faster_rcnn.box_coding import decode_boxes
from lxmert.vision.geometry import clip
from lxmert.vision.nms import nms


@dataclass(frozen=True)
class ProposalSettings:
    """How proposals are selected; the values are those of a `FasterRcnnConfig`, which has checked them.

    Attributes:
        before_nms: number of top-scoring anchors that enter non-maximum suppression.
        after_nms: maximum number of proposals kept after it.
        nms_threshold: overlap (intersection over union) above which the lower-scored proposal is removed.
        min_size_px: width and height that a proposal must exceed, in pixels of the network's input.
        delta_weights: weights of the deltas; see `decode_boxes`.
    """

    before_nms: int
    after_nms: int
    nms_threshold: float
    min_size_px: float
    delta_weights: Sequence[float]


@torch.no_grad()
def select_proposals(
    logits: Tensor, deltas: Tensor, anchors_xyxy: Tensor, size_hw: tuple[int, int], settings: ProposalSettings
) -> tuple[Tensor, Tensor]:
    """Select the proposals of one image: decode, clip, and remove near duplicates.

    Args:
        logits: (K,) objectness of each anchor.
        deltas: (K, 4) box deltas of each anchor.
        anchors_xyxy: (K, 4) in pixels of the network's input.
        size_hw: height and width of the image in those pixels, without padding.
        settings: numbers of boxes, thresholds and weights.

    Returns:
        Boxes (R, 4), clipped to the image, and their logits (R,), best first; R is at most `after_nms` and
        may be 0. Computed in float32, without gradients.

    Raises:
        TensorError: inconsistent shapes, or a box or score that is not finite.
    """
    count = len(anchors_xyxy)
    if logits.shape != (count,) or deltas.shape != (count, 4) or anchors_xyxy.shape != (count, 4):
        raise TensorError(
            f"logits {tuple(logits.shape)}, deltas {tuple(deltas.shape)} and anchors "
            f"{tuple(anchors_xyxy.shape)} do not belong together; expected (K,), (K, 4) and (K, 4)"
        )
    best = torch.argsort(logits, descending=True, stable=True)[: settings.before_nms]
    boxes = decode_boxes(deltas[best].float(), anchors_xyxy[best].float(), settings.delta_weights)
    return filter_proposals(boxes, logits[best].float(), size_hw, settings)


@torch.no_grad()
def filter_proposals(
    boxes_xyxy: Tensor, logits: Tensor, size_hw: tuple[int, int], settings: ProposalSettings
) -> tuple[Tensor, Tensor]:
    """Clip decoded boxes (K, 4), and remove small ones and near duplicates; see `select_proposals`."""
    faulty = ~(torch.isfinite(boxes_xyxy).all(dim=1) & torch.isfinite(logits))
    if bool(faulty.any()):
        raise TensorError(
            f"{int(faulty.sum())} of {len(boxes_xyxy)} proposals have a score or a coordinate that is not "
            f"finite; the image, the weights or the training (a learning rate too high) are broken"
        )
    boxes = clip(boxes_xyxy, size_hw)
    large = ((boxes[:, 2:] - boxes[:, :2]) > settings.min_size_px).all(dim=1)
    boxes, logits = boxes[large], logits[large]
    kept = nms(boxes, logits, settings.nms_threshold, limit=settings.after_nms)
    return boxes[kept], logits[kept]

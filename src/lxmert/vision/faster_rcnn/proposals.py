"""From the proposal network's scores and corrections to the boxes worth a closer look.

Source: Ren et al. 2015 (arXiv 1506.01497), section 3; order and ties as in detectron2.

Shapes: K anchors, R proposals.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lxmert.errors import ConfigurationError, TensorError
from lxmert.vision.faster_rcnn.box_coding import decode_boxes
from lxmert.vision.geometry import clip
from lxmert.vision.nms import nms


@dataclass(frozen=True)
class ProposalSettings:
    """How proposals are chosen.

    Attributes:
        before_nms: anchors with the highest scores that enter suppression.
        after_nms: proposals at most.
        nms_threshold: overlap above which the worse of two proposals goes.
        min_size_px: a proposal must be wider and higher than this, in pixels of the network's input.
        delta_weights: weights of the corrections, see `decode_boxes`.

    Raises:
        ConfigurationError: listing every value out of range.
    """

    before_nms: int = 6000
    after_nms: int = 300
    nms_threshold: float = 0.7
    min_size_px: float = 0.0
    delta_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}, expected at least 1"
            for name in ("before_nms", "after_nms")
            if getattr(self, name) < 1
        ]
        if not 0 <= self.nms_threshold <= 1:
            faults.append(f"nms_threshold is {self.nms_threshold!r}, expected 0 to 1")
        if not self.min_size_px >= 0:
            faults.append(f"min_size_px is {self.min_size_px!r}, expected 0 or more")
        if len(self.delta_weights) != 4 or not all(weight > 0 for weight in self.delta_weights):
            faults.append(f"delta_weights are {self.delta_weights!r}, expected four numbers above 0")
        if faults:
            raise ConfigurationError(f"proposal settings: {'; '.join(faults)}")


@torch.no_grad()
def select_proposals(
    logits: Tensor, deltas: Tensor, anchors_xyxy: Tensor, size_hw: tuple[int, int], settings: ProposalSettings
) -> tuple[Tensor, Tensor]:
    """The best boxes of one image: decoded, clipped, without near duplicates.

    Args:
        logits: (K,) score of each anchor.
        deltas: (K, 4) its correction.
        anchors_xyxy: (K, 4) in pixels of the network's input.
        size_hw: height and width of the image in those pixels, without padding.
        settings: numbers of boxes, thresholds, weights.

    Returns:
        Boxes (R, 4), clipped to the image, and their logits (R,), best first; R at most `after_nms` and
        possibly 0. Computed in float32; no gradient flows through either.

    Raises:
        TensorError: shapes that do not belong together, or a box or score that is not finite.
    """
    count = len(anchors_xyxy)
    if logits.shape != (count,) or deltas.shape != (count, 4) or anchors_xyxy.shape != (count, 4):
        raise TensorError(
            f"logits {tuple(logits.shape)}, deltas {tuple(deltas.shape)} and anchors "
            f"{tuple(anchors_xyxy.shape)} do not belong together; expected (K,), (K, 4) and (K, 4)"
        )
    best = torch.argsort(logits, descending=True, stable=True)[: settings.before_nms]
    boxes = decode_boxes(deltas[best].float(), anchors_xyxy[best].float(), settings.delta_weights)
    return thin_out(boxes, logits[best].float(), size_hw, settings)


@torch.no_grad()
def thin_out(
    boxes_xyxy: Tensor, logits: Tensor, size_hw: tuple[int, int], settings: ProposalSettings
) -> tuple[Tensor, Tensor]:
    """Clip decoded boxes (K, 4), drop the small ones, then the near duplicates; as `select_proposals`."""
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

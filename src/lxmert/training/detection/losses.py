"""The losses of a training step: proposals, classes, boxes, attributes.

Source: Ren et al. 2015, section 3.1.2; Girshick 2015, section 2.3; attributes as in Anderson et al. 2018:
cross entropy over the attributes of foreground RoIs, predicted with the embedding of the true class.
Shapes: P positive candidates, R RoIs of all images together, K classes, L attributes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

NO_ATTRIBUTE = -100
"""Attribute id of a box without attributes, which the loss ignores."""


def box_loss(deltas: Tensor, targets: Tensor, beta: float, sampled: int) -> Tensor:
    """Smooth L1 of deltas (P, 4) against (P, 4), per sampled candidate.

    Quadratic up to an error of `beta`, 0.5 e² / beta, linear beyond, |e| - beta / 2. The sum is divided by
    the number of all sampled candidates, not of the positive ones, so that each positive has the same weight
    in a picture with few objects as in one with many (Girshick 2015).
    """
    return F.smooth_l1_loss(deltas, targets, reduction="sum", beta=beta) / max(sampled, 1)


def objectness_loss(positive_logits: Tensor, negative_logits: Tensor) -> Tensor:
    """Binary cross entropy of sampled anchors, mean."""
    logits = torch.cat([positive_logits, negative_logits])
    targets = torch.cat([torch.ones_like(positive_logits), torch.zeros_like(negative_logits)])
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / max(len(logits), 1)


def class_loss(object_logits: Tensor, object_ids: Tensor) -> Tensor:
    """Cross entropy over K + 1 classes of (R, K + 1) logits, mean; background has id K."""
    return F.cross_entropy(object_logits, object_ids, reduction="sum") / max(len(object_ids), 1)


def attribute_loss(attribute_logits: Tensor, attribute_ids: Tensor) -> Tensor:
    """Cross entropy of (P, L + 1) logits, mean over the boxes that have an attribute; 0 if none has."""
    labelled = (attribute_ids != NO_ATTRIBUTE).sum().clamp(min=1)
    summed = F.cross_entropy(attribute_logits, attribute_ids, ignore_index=NO_ATTRIBUTE, reduction="sum")
    return summed / labelled

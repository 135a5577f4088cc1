"""Matching of anchors and RoIs with true boxes, and sampling of them for a training step.

Source: Ren et al. 2015, section 3.1.2 (anchors) and Girshick 2015, section 2.3 (RoIs).
Random choices draw from torch's global generator, which a resumed Trainer restores.
Shapes: M anchors or RoIs, N true boxes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lxmert.vision.geometry import iou

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
"""Labels of anchors and RoIs."""


@dataclass(frozen=True)
class Matches:
    """The match of each candidate.

    Attributes:
        labels: (M,) int64, POSITIVE, NEGATIVE or IGNORED.
        targets: (M,) int64, the true box with the largest overlap; 0 if there are none.
    """

    labels: Tensor
    targets: Tensor


def match_boxes(
    candidates_xyxy: Tensor,
    true_xyxy: Tensor,
    *,
    positive_from: float,
    negative_below: float,
    allow_low_quality_matches: bool = False,
) -> Matches:
    """Match candidates (M, 4) with true boxes (N, 4).

    Args:
        candidates_xyxy: anchors or RoIs, network pixels.
        true_xyxy: network pixels.
        positive_from: overlap (intersection over union) from which a candidate is positive.
        negative_below: overlap below which it is negative; those in between are ignored.
        allow_low_quality_matches: True also makes the candidates with the largest overlap of each true box
            positive, so that no box is left without; their target is still the box that they overlap most.
    """
    count = len(candidates_xyxy)
    if len(true_xyxy) == 0:
        zeros = torch.zeros(count, dtype=torch.int64, device=candidates_xyxy.device)
        return Matches(labels=zeros, targets=zeros)
    overlaps = iou(candidates_xyxy, true_xyxy)  # (M, N)
    best, targets = overlaps.max(dim=1)
    labels = torch.full_like(targets, IGNORED)
    labels[best < negative_below] = NEGATIVE
    labels[best >= positive_from] = POSITIVE
    if allow_low_quality_matches:
        best_of_box = overlaps.max(dim=0).values  # (N,)
        labels[((overlaps == best_of_box) & (best_of_box > 0)).any(dim=1)] = POSITIVE
    return Matches(labels=labels, targets=targets)


def sample_candidates(labels: Tensor, count: int, positive_share: float) -> tuple[Tensor, Tensor]:
    """Sample candidates for one step.

    Args:
        labels: (M,) of `Matches`.
        count: number of samples.
        positive_share: maximum fraction of positives; the rest are negatives.

    Returns:
        Indices of the positive and of the negative ones, each in random order; together at most `count`.
    """
    positive = _sample_indices(labels == POSITIVE, int(count * positive_share))
    negative = _sample_indices(labels == NEGATIVE, count - len(positive))
    return positive, negative


def _sample_indices(eligible: Tensor, max_count: int) -> Tensor:
    indices = eligible.nonzero()[:, 0]
    # Sampled on the CPU, so that a step is the same on every device.
    return indices[torch.randperm(len(indices))[:max_count].to(indices.device)]

"""Greedy non-maximum suppression in pure torch, exact to the last bit of the overlap.

The rule is that of torchvision and detectron2, which the published detector was evaluated with: boxes in
descending order of score, equal scores in the order given; a box is removed if its overlap with a box already
kept is above the threshold; areas without the "+1" of Caffe; the overlap in float32, compared with the
threshold as a double.

Shapes: N boxes, B boxes of one block.
"""

import numpy as np
import torch
from torch import Tensor

from lxmert.errors import TensorError

_CPU_BLOCK = 128
"""Rows of the overlap matrix at a time: 128 × 6,000 float32 fit the second-level caches."""

_DEVICE_BLOCK = 1024
"""On an accelerator launches are the cost, not arithmetic: fewer and larger blocks."""


@torch.no_grad()
def nms(boxes_xyxy: Tensor, scores: Tensor, threshold: float, *, limit: int | None = None) -> Tensor:
    """Return the indices of the boxes that greedy non-maximum suppression keeps, best first.

    Args:
        boxes_xyxy: (N, 4) x1 <= x2 and y1 <= y2, any unit; computed in float32. Two boxes without area have
            no overlap, so that neither removes the other.
        scores: (N,) higher is better; equal scores rank in the order given.
        threshold: overlap (intersection over union, 0 to 1) above which the lower-scored box is removed.
        limit: greatest number of boxes to keep; None for all. The result is the beginning of the full one.

    Returns:
        (K,) int64 indices into `boxes_xyxy`, in descending order of score.

    Raises:
        TensorError: boxes that are not (N, 4), or scores that are not (N,).
    """
    _check(boxes_xyxy, scores)
    candidates = torch.argsort(scores, descending=True, stable=True)  # (N,) remaining ones
    sides = boxes_xyxy.float()[candidates].T.contiguous()  # (4, N): each coordinate contiguous
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    limit_float32 = _largest_float32_up_to(threshold)
    block = _CPU_BLOCK if boxes_xyxy.device.type == "cpu" else _DEVICE_BLOCK

    kept: list[Tensor] = []
    room = len(candidates) if limit is None else limit
    while len(candidates) and room > 0:
        head, head_areas = sides[:, :block], areas[:block]
        overlapping = _overlapping(head, head_areas, head, head_areas, limit_float32)
        winners = _select_greedily(overlapping).to(candidates.device)
        kept.append(candidates[:block][winners])
        room -= len(winners)
        sides, areas, candidates = sides[:, block:], areas[block:], candidates[block:]
        if len(candidates) and room > 0:
            overlapping = _overlapping(head[:, winners], head_areas[winners], sides, areas, limit_float32)
            remaining = torch.nonzero(~overlapping.any(dim=0))[:, 0]
            sides, areas, candidates = sides[:, remaining], areas[remaining], candidates[remaining]
    return torch.cat(kept)[:limit] if kept else candidates[:0]


@torch.no_grad()
def overlaps_above(boxes_xyxy: Tensor, threshold: float) -> Tensor:
    """Return which boxes overlap above the threshold, as computed by `nms`: (N, 4) -> (N, N) bool."""
    sides = boxes_xyxy.float().T
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    return _overlapping(sides, areas, sides, areas, _largest_float32_up_to(threshold))


def _overlapping(
    first: Tensor, first_areas: Tensor, second: Tensor, second_areas: Tensor, threshold: float
) -> Tensor:
    """Return which pairs overlap above the threshold: (4, B), (B,), (4, N), (N,) -> (B, N) bool.

    In place where possible: memory traffic dominates. A negative width makes the intersection negative, and
    so the quotient; 0 / 0 is NaN; neither is above any threshold.
    """
    x1, y1, x2, y2 = first.unsqueeze(2)  # four (B, 1)
    widths = torch.minimum(x2, second[2]).sub_(torch.maximum(x1, second[0]))
    heights = torch.minimum(y2, second[3]).sub_(torch.maximum(y1, second[1])).clamp_(min=0)
    intersections = widths.mul_(heights)
    union = torch.add(first_areas[:, None], second_areas, out=heights).sub_(intersections)
    return intersections.div_(union) > threshold


def _select_greedily(overlapping: Tensor) -> Tensor:
    """Make the greedy choice within one block: (B, B) bool, best first -> (K,) int64 positions kept.

    Each row becomes one integer of B bits, so that "this box removes those" is a single `or`.
    """
    rows = np.packbits(overlapping.cpu().numpy(), axis=1, bitorder="little")
    removed = 0
    winners = []
    for position, row in enumerate(rows):
        if not removed >> position & 1:
            winners.append(position)
            removed |= int.from_bytes(row.tobytes(), "little")
    return torch.tensor(winners, dtype=torch.int64)


def _largest_float32_up_to(threshold: float) -> float:
    """Return the float32 threshold that compares with every float32 as the double would.

    A float32 exceeds the double 0.6 if and only if it exceeds the largest float32 that does not; rounding
    0.6 to the nearest float32 instead rounds up, and would keep a box whose overlap is that very number.
    """
    rounded = np.float32(threshold)
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)


def _check(boxes_xyxy: Tensor, scores: Tensor) -> None:
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise TensorError(f"boxes have shape {tuple(boxes_xyxy.shape)}; expected (N, 4), rows x1, y1, x2, y2")
    if scores.shape != boxes_xyxy.shape[:1]:
        raise TensorError(
            f"scores have shape {tuple(scores.shape)} for {len(boxes_xyxy)} boxes; expected one for each"
        )

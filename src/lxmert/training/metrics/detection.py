"""How well a detector finds objects: mean average precision at an overlap of 0.5, and attribute accuracy.

Average precision is the area under the precision-recall curve with every recall step counted (all-point
interpolation, PASCAL VOC from 2010 on): precision is first made non-increasing from the right. As in COCO,
the detections of a class over all images are ranked by score; in that order each takes the free true box of
its class and image that it overlaps most, if at least by the threshold, and counts as right then.

Shapes: D detections and N true boxes of one image; T detections of all images together.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lxmert.vision.geometry import iou

OVERLAP = 0.5
"""Least intersection over union of a right detection."""


@dataclass(frozen=True)
class ScoredBoxes:
    """What a detector says of one image.

    Attributes:
        boxes_xyxy: (D, 4) float32.
        object_ids: (D,) int64.
        scores: (D,) float32.
        attribute_ids: (D,) int64, None without attributes.
    """

    boxes_xyxy: Tensor
    object_ids: Tensor
    scores: Tensor
    attribute_ids: Tensor | None = None


@dataclass(frozen=True)
class TrueBoxes:
    """What there is in one image.

    Attributes:
        boxes_xyxy: (N, 4) float32, same unit as the detections.
        object_ids: (N,) int64.
        attribute_ids: for each box its attributes, none or more.
    """

    boxes_xyxy: Tensor
    object_ids: Tensor
    attribute_ids: Sequence[Sequence[int]]


@dataclass(frozen=True)
class DetectionReport:
    """The figures of a data set, in percent.

    Attributes:
        mean_average_precision: mean over the classes that occur.
        average_precision: of each class that occurs, by class id.
        attribute_accuracy: of the true boxes that have attributes and were found (the best-scored detection
            of any class that overlaps enough), how many got one of theirs; None where there is none.
        recall: share of true boxes that some detection of any class overlaps enough.
    """

    mean_average_precision: float
    average_precision: dict[int, float]
    attribute_accuracy: float | None
    recall: float


class _Verdicts(NamedTuple):
    """The detections of all images, image after image, best first within each."""

    object_ids: Tensor  # (T,)
    scores: Tensor  # (T,)
    right: Tensor  # (T,) bool


def score_detections(
    found: Sequence[ScoredBoxes], truths: Sequence[TrueBoxes], overlap: float = OVERLAP
) -> DetectionReport:
    """Compare detections with true boxes, image by image in the same order."""
    ranked = [_best_first(detections) for detections in found]
    overlaps = [
        iou(detections.boxes_xyxy, truth.boxes_xyxy)  # (D, N)
        for detections, truth in zip(ranked, truths, strict=True)
    ]
    verdicts = _verdicts(ranked, truths, overlaps, overlap)
    wanted = Counter(number for truth in truths for number in truth.object_ids.tolist())
    precision = {number: 100 * _average_precision(verdicts, number, wanted[number]) for number in wanted}
    seen = labelled = right = 0
    for detections, truth, table in zip(ranked, truths, overlaps, strict=True):
        for column, wanted_attributes in enumerate(truth.attribute_ids):
            touching = (table[:, column] >= overlap).nonzero()[:, 0]
            seen += len(touching) > 0
            if len(touching) and wanted_attributes and detections.attribute_ids is not None:
                labelled += 1
                right += int(detections.attribute_ids[touching[0]]) in wanted_attributes
    return DetectionReport(
        mean_average_precision=sum(precision.values()) / max(len(precision), 1),
        average_precision=dict(sorted(precision.items())),
        attribute_accuracy=100 * right / labelled if labelled else None,
        recall=100 * seen / max(wanted.total(), 1),
    )


def _best_first(found: ScoredBoxes) -> ScoredBoxes:
    order = torch.argsort(found.scores, descending=True, stable=True)
    attributes = found.attribute_ids
    return ScoredBoxes(
        found.boxes_xyxy[order],
        found.object_ids[order],
        found.scores[order],
        None if attributes is None else attributes[order],
    )


def _verdicts(
    ranked: Sequence[ScoredBoxes], truths: Sequence[TrueBoxes], overlaps: Sequence[Tensor], least: float
) -> _Verdicts:
    right = [
        _claims(table.where(detections.object_ids[:, None] == truth.object_ids, -1.0), least)
        for detections, truth, table in zip(ranked, truths, overlaps, strict=True)
    ]
    nothing = torch.zeros(0)  # so that there is something to join where there are no images
    return _Verdicts(
        torch.cat([nothing.long(), *(detections.object_ids for detections in ranked)]),
        torch.cat([nothing, *(detections.scores for detections in ranked)]),
        torch.cat([nothing.bool(), *right]),
    )


def _claims(overlaps: Tensor, least: float) -> Tensor:
    """Which detections of one image, best first, get a true box of their own.

    Args:
        overlaps: (D, N), -1 where the classes differ.
        least: overlap that is enough.

    Returns:
        (D,) bool.
    """
    claimed = torch.zeros(len(overlaps), dtype=torch.bool)
    if overlaps.shape[1] == 0:
        return claimed
    free = overlaps.numpy().copy()
    for row, candidates in enumerate(free):
        best = candidates.argmax()
        if candidates[best] >= least:
            claimed[row] = True
            free[:, best] = -1.0
    return claimed


def _average_precision(verdicts: _Verdicts, number: int, wanted: int) -> float:
    """Average precision of one class, of which there are so many true boxes, 0..1."""
    ours = verdicts.object_ids == number
    ranking = torch.argsort(verdicts.scores[ours], descending=True, stable=True)
    hits = verdicts.right[ours][ranking].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    # Recall rises by 1 / wanted at each right detection and nowhere else.
    return float((envelope * hits).sum() / wanted)

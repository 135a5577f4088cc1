"""Detection metrics: mean average precision at an overlap of 0.5, and attribute accuracy.

Average precision is the area under the precision-recall curve with every recall step counted (all-point
interpolation, PASCAL VOC from 2010 on): precision is first made non-increasing from the right. As in COCO,
the detections of a class over all images are ranked by score; in that order each is matched with the
unmatched true box of its class and image that it overlaps most, if at least by the threshold, and is then
correct.

Shapes: D detections and N true boxes of one image; T detections of all images together.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lxmert.vision.geometry import iou

IOU_THRESHOLD = 0.5
"""Minimum intersection over union of a correct detection."""


@dataclass(frozen=True)
class ScoredBoxes:
    """A detector's predictions for one image.

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
    """The true boxes of one image.

    Attributes:
        boxes_xyxy: (N, 4) float32, same unit as the detections.
        object_ids: (N,) int64.
        attribute_ids: for each box zero or more attributes.
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
        attribute_accuracy: over the true boxes that have attributes and are overlapped enough by detections,
            the fraction whose best-scored such detection, of any class, has one of these attributes; None if
            there are none.
        recall: fraction of the true boxes that a detection of any class overlaps enough.
    """

    mean_average_precision: float
    average_precision: dict[int, float]
    attribute_accuracy: float | None
    recall: float


class _RankedDetections(NamedTuple):
    """The detections of all images, image by image, sorted by score within each."""

    object_ids: Tensor  # (T,)
    scores: Tensor  # (T,)
    is_correct: Tensor  # (T,) bool


def score_detections(
    detections_by_image: Sequence[ScoredBoxes],
    truths: Sequence[TrueBoxes],
    iou_threshold: float = IOU_THRESHOLD,
) -> DetectionReport:
    """Compare detections with true boxes, image by image in the same order."""
    ranked = [_sort_by_score(detections) for detections in detections_by_image]
    overlaps = [
        iou(detections.boxes_xyxy, truth.boxes_xyxy)  # (D, N)
        for detections, truth in zip(ranked, truths, strict=True)
    ]
    matches = _match_detections(ranked, truths, overlaps, iou_threshold)
    true_counts = Counter(class_id for truth in truths for class_id in truth.object_ids.tolist())
    precision = {
        class_id: 100 * _average_precision(matches, class_id, true_counts[class_id])
        for class_id in true_counts
    }
    detected = labelled = correct = 0
    for detections, truth, iou_table in zip(ranked, truths, overlaps, strict=True):
        for column, true_attributes in enumerate(truth.attribute_ids):
            overlapping = (iou_table[:, column] >= iou_threshold).nonzero()[:, 0]
            detected += len(overlapping) > 0
            if len(overlapping) and true_attributes and detections.attribute_ids is not None:
                labelled += 1
                correct += int(detections.attribute_ids[overlapping[0]]) in true_attributes
    return DetectionReport(
        mean_average_precision=sum(precision.values()) / max(len(precision), 1),
        average_precision=dict(sorted(precision.items())),
        attribute_accuracy=100 * correct / labelled if labelled else None,
        recall=100 * detected / max(true_counts.total(), 1),
    )


def _sort_by_score(predictions: ScoredBoxes) -> ScoredBoxes:
    order = torch.argsort(predictions.scores, descending=True, stable=True)
    attributes = predictions.attribute_ids
    return ScoredBoxes(
        predictions.boxes_xyxy[order],
        predictions.object_ids[order],
        predictions.scores[order],
        None if attributes is None else attributes[order],
    )


def _match_detections(
    ranked: Sequence[ScoredBoxes], truths: Sequence[TrueBoxes], overlaps: Sequence[Tensor], threshold: float
) -> _RankedDetections:
    is_correct = [
        _match_image(iou_table.where(detections.object_ids[:, None] == truth.object_ids, -1.0), threshold)
        for detections, truth, iou_table in zip(ranked, truths, overlaps, strict=True)
    ]
    empty = torch.zeros(0)  # something to concatenate if there are no images
    return _RankedDetections(
        torch.cat([empty.long(), *(detections.object_ids for detections in ranked)]),
        torch.cat([empty, *(detections.scores for detections in ranked)]),
        torch.cat([empty.bool(), *is_correct]),
    )


def _match_image(overlaps: Tensor, min_overlap: float) -> Tensor:
    """Match the detections of one image, sorted by score, with true boxes; returns which have one.

    Args:
        overlaps: (D, N), -1 where the classes differ.
        min_overlap: minimum overlap of a match.

    Returns:
        (D,) bool.
    """
    is_matched = torch.zeros(len(overlaps), dtype=torch.bool)
    if overlaps.shape[1] == 0:
        return is_matched
    unmatched_overlaps = overlaps.numpy().copy()
    for row, candidates in enumerate(unmatched_overlaps):
        best = candidates.argmax()
        if candidates[best] >= min_overlap:
            is_matched[row] = True
            unmatched_overlaps[:, best] = -1.0
    return is_matched


def _average_precision(matches: _RankedDetections, class_id: int, true_count: int) -> float:
    """Average precision, 0..1, of one class with `true_count` true boxes."""
    in_class = matches.object_ids == class_id
    ranking = torch.argsort(matches.scores[in_class], descending=True, stable=True)
    hits = matches.is_correct[in_class][ranking].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    # Recall rises by 1 / true_count at each correct detection and nowhere else.
    return float((envelope * hits).sum() / true_count)

"""Selection of an image's objects by the network's predictions for each proposal.

There are two presets. "published" follows the published PyTorch pipeline: each proposal has its most probable
class and the box refined for that class, and non-maximum suppression is class-agnostic. "butd" follows the
Caffe program that computed the features LXMERT was trained on: suppression within each class, on unrefined
boxes, which are also the ones returned.

Sources: Anderson et al. 2018 (arXiv 1707.07998) and its program; the published PyTorch port.

Shapes: R proposals, D features, K object classes, A attributes, N selected objects.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lxmert.errors import ConfigurationError, TensorError
from lxmert.faults import count_fault, number_fault
from lxmert.vision.faster_rcnn.box_coding import decode_boxes, deltas_of_class
from lxmert.vision.geometry import clip
from lxmert.vision.nms import nms, overlaps_above

BUTD_NMS_THRESHOLD = 0.3
"""Overlap above which the Caffe program suppresses a box of the same class."""


@dataclass(frozen=True, eq=False)
class RoiPredictions:
    """The network's predictions for the proposals of one image.

    Attributes:
        proposals_xyxy: (R, 4) in pixels of the network's input.
        features: (R, D).
        object_logits: (R, K+1), background last.
        attribute_logits: (R, A+1), background last, or None.
        deltas: (R, 4K) box deltas, grouped by class, without background.
    """

    proposals_xyxy: Tensor
    features: Tensor
    object_logits: Tensor
    attribute_logits: Tensor | None
    deltas: Tensor

    def __len__(self) -> int:
        """Number of proposals R."""
        return len(self.proposals_xyxy)


@dataclass(frozen=True)
class SelectionSettings:
    """How objects are selected from proposals.

    Attributes:
        preset: "published" or "butd"; see the module docstring.
        nms_thresholds: overlap thresholds, tried in turn until `min_objects` boxes remain; "butd" always uses
            0.3 instead.
        min_objects: least number of objects, if there are as many boxes.
        max_objects: greatest number of objects; equal to `min_objects` for a fixed number.
        score_threshold: least score of objects beyond `min_objects`; None for no threshold.
        delta_weights: weights of the deltas; see `decode_boxes`.

    Raises:
        ConfigurationError: listing all values out of range.
    """

    preset: Literal["published", "butd"] = "published"
    nms_thresholds: tuple[float, ...] = (0.5, 0.6, 0.7)
    min_objects: int = 36
    max_objects: int = 36
    score_threshold: float | None = None
    delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)

    def __post_init__(self) -> None:
        faults = []
        if self.preset not in ("published", "butd"):
            faults.append(f'preset is {self.preset!r}, expected "published" or "butd"')
        if not self.nms_thresholds or any(number_fault("", one, 0, 1) for one in self.nms_thresholds):
            faults.append(f"nms_thresholds are {self.nms_thresholds!r}, expected one or more of 0 to 1")
        counts = [*count_fault("min_objects", self.min_objects, 0)]
        counts += count_fault("max_objects", self.max_objects, 1)
        if not counts and self.min_objects > self.max_objects:
            counts = [f"min_objects {self.min_objects} is more than max_objects {self.max_objects}"]
        faults += counts
        if self.score_threshold is not None:
            faults += number_fault("score_threshold", self.score_threshold, 0, 1)
        above_0 = math.ulp(0)
        weight_faults = [number_fault("", one, above_0, math.inf) for one in self.delta_weights]
        if len(weight_faults) != 4 or any(weight_faults):
            faults.append(f"delta_weights are {self.delta_weights!r}, expected four numbers above 0")
        if faults:
            raise ConfigurationError(f"selection settings: {'; '.join(faults)}")


@dataclass(frozen=True, eq=False)
class Detections:
    """The selected objects, best first.

    Attributes:
        roi_indices: (N,) int64 row of each object in the predictions, which also holds its features.
        boxes_xyxy: (N, 4) in pixels of the network's input, clipped to the image.
        object_ids: (N,) int64 most probable class, excluding background.
        object_scores: (N,) float32 probability of that class among all classes, including background.
        attribute_ids: (N,) int64 most probable attribute, excluding background, or None.
        attribute_scores: (N,) float32 probability of that attribute, excluding background, or None.
    """

    roi_indices: Tensor
    boxes_xyxy: Tensor
    object_ids: Tensor
    object_scores: Tensor
    attribute_ids: Tensor | None
    attribute_scores: Tensor | None

    def __len__(self) -> int:
        """Number of objects N."""
        return len(self.roi_indices)


class _Labels(NamedTuple):
    object_ids: Tensor  # (R,)
    object_scores: Tensor  # (R,)
    attribute_ids: Tensor | None
    attribute_scores: Tensor | None


@torch.no_grad()
def select_detections(
    predictions: RoiPredictions, size_hw: tuple[int, int], settings: SelectionSettings
) -> Detections:
    """Select the objects of one image.

    Args:
        predictions: predictions for the image's proposals.
        size_hw: height and width of the image in pixels of the network's input, without padding.
        settings: how to select.

    Returns:
        At most `max_objects` objects; fewer than `min_objects` only if too few boxes remain.

    Raises:
        TensorError: inconsistent shapes, or scores or boxes that are not finite.
    """
    _check(predictions)
    labels = _best_labels(predictions)
    if settings.preset == "butd":
        _require_finite("proposals", predictions.proposals_xyxy)
        boxes = clip(predictions.proposals_xyxy.float(), size_hw)
        rows = _select_within_classes(boxes, _object_probabilities(predictions), settings)
    else:
        boxes = _refined_boxes(predictions, labels.object_ids, size_hw, settings.delta_weights)
        rows = select_class_agnostic(boxes, labels.object_scores, settings)
    return _gather(rows, boxes, labels)


@torch.no_grad()
def label_given_boxes(predictions: RoiPredictions) -> Detections:
    """Label given boxes: all of them, unrefined and in the same order.

    Raises:
        TensorError: inconsistent shapes, or scores that are not finite.
    """
    _check(predictions)
    rows = torch.arange(len(predictions), device=predictions.object_logits.device)
    return _gather(rows, predictions.proposals_xyxy.float(), _best_labels(predictions))


def select_class_agnostic(boxes_xyxy: Tensor, scores: Tensor, settings: SelectionSettings) -> Tensor:
    """Select rows by class-agnostic suppression: boxes (R, 4), scores (R,) -> rows (N,) int64, best first.

    The first threshold that keeps at least `min_objects` is used, otherwise the last.
    """
    kept = scores.new_empty(0, dtype=torch.int64)
    for threshold in settings.nms_thresholds:
        kept = nms(boxes_xyxy, scores, threshold, limit=settings.max_objects)
        if len(kept) >= settings.min_objects:
            break
    return kept[: _count_to_select(scores[kept], settings)]


def _select_within_classes(boxes_xyxy: Tensor, probabilities: Tensor, settings: SelectionSettings) -> Tensor:
    """Select rows by suppression within each class: boxes (R, 4), probabilities (R, K) -> (N,), best first.

    Proposals are ranked by their highest probability among the classes in which they survive, or 0 if they
    survive in none.
    """
    confidence = _surviving_confidence(boxes_xyxy, probabilities)
    ranked = torch.argsort(confidence, descending=True, stable=True)[: settings.max_objects]
    return ranked[: _count_to_select(confidence[ranked], settings)]


def _surviving_confidence(boxes_xyxy: Tensor, probabilities: Tensor) -> Tensor:
    """Return each proposal's highest probability among the classes whose suppression it survives: (R,).

    All classes are processed in parallel: each step handles the next best proposal of every class.
    """
    overlapping = overlaps_above(boxes_xyxy, BUTD_NMS_THRESHOLD)  # (R, R)
    scores = probabilities.T.contiguous()  # (K, R)
    ranking = torch.argsort(scores, dim=1, descending=True, stable=True)  # (K, R)
    removed = torch.zeros_like(scores, dtype=torch.bool)
    confidence = scores.new_zeros(len(boxes_xyxy))
    classes = torch.arange(len(scores), device=scores.device)
    for candidates in ranking.unbind(dim=1):  # (K,) one proposal for each class
        alive = ~removed[classes, candidates]
        confidence.scatter_reduce_(0, candidates, scores[classes, candidates] * alive, "amax")
        removed |= overlapping[candidates] & alive[:, None]
    return confidence


def _count_to_select(scores: Tensor, settings: SelectionSettings) -> int:
    """Return how many of the leading `scores` to take, which are descending and at most `max_objects`."""
    if settings.score_threshold is None:
        return len(scores)
    num_above_threshold = int((scores >= settings.score_threshold).sum())
    return max(num_above_threshold, settings.min_objects)


def _best_labels(predictions: RoiPredictions) -> _Labels:
    """Return the most probable class and attribute of every proposal.

    As in the published pipeline, the softmax over classes includes background, that over attributes does not.
    """
    scores, ids = _object_probabilities(predictions).max(dim=1)
    if predictions.attribute_logits is None:
        return _Labels(ids, scores, None, None)
    attributes = predictions.attribute_logits[:, :-1].float().softmax(dim=1)
    attribute_scores, attribute_ids = attributes.max(dim=1)
    return _Labels(ids, scores, attribute_ids, attribute_scores)


def _object_probabilities(predictions: RoiPredictions) -> Tensor:
    return predictions.object_logits.float().softmax(dim=1)[:, :-1]  # (R, K)


def _refined_boxes(
    predictions: RoiPredictions,
    object_ids: Tensor,
    size_hw: tuple[int, int],
    weights: tuple[float, float, float, float],
) -> Tensor:
    """Refine each proposal by the deltas of its class, and clip it: (R, 4)."""
    deltas = deltas_of_class(predictions.deltas, object_ids)
    refined = decode_boxes(deltas.float(), predictions.proposals_xyxy.float(), weights)
    _require_finite("refined boxes", refined)
    return clip(refined, size_hw)


def _gather(rows: Tensor, boxes_xyxy: Tensor, labels: _Labels) -> Detections:
    return Detections(
        rows,
        boxes_xyxy[rows],
        labels.object_ids[rows],
        labels.object_scores[rows],
        None if labels.attribute_ids is None else labels.attribute_ids[rows],
        None if labels.attribute_scores is None else labels.attribute_scores[rows],
    )


def _check(predictions: RoiPredictions) -> None:
    rois, classes = len(predictions), predictions.object_logits.shape[-1] - 1
    expected = {
        "proposals_xyxy": (rois, 4),
        "object_logits": (rois, classes + 1),
        "deltas": (rois, 4 * classes),
    }
    if predictions.attribute_logits is not None:
        attributes = max(predictions.attribute_logits.shape[-1] - 1, 1)
        expected["attribute_logits"] = (rois, attributes + 1)
    for name, shape in expected.items():
        found = tuple(getattr(predictions, name).shape)
        if found != shape or classes < 1:
            raise TensorError(
                f"{name} has shape {found}; expected {shape} for {rois} boxes, {classes} classes"
            )
    _require_finite("object scores", predictions.object_logits)
    if predictions.attribute_logits is not None:
        _require_finite("attribute scores", predictions.attribute_logits)


def _require_finite(what: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise TensorError(f"{what} are not finite; the image or the weights of the detector are broken")

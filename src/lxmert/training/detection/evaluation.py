"""Scoring a detector on annotated images, one image at a time as in inference."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lxmert.data.box_annotations import AnnotatedImage
from lxmert.training.detection.dataset import load_annotated
from lxmert.training.metrics.detection import DetectionReport, ScoredBoxes, TrueBoxes, score_detections
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.modeling import FasterRcnn
from lxmert.vision.faster_rcnn.preprocessing import to_image_boxes, to_network_pixels
from lxmert.vision.faster_rcnn.selection import SelectionSettings, select_detections


def evaluation_settings(config: FasterRcnnConfig, max_detections: int) -> SelectionSettings:
    """The detector's own selection, but keeping all detections, ranked by score.

    Average precision weights detections by their rank, so there is no score threshold, and more objects are
    kept than a user would want to see.
    """
    first, second, third, fourth = config.box_delta_weights
    return SelectionSettings(
        nms_thresholds=tuple(config.detection_nms_thresholds),
        min_objects=min(config.min_objects, max_detections),
        max_objects=max_detections,
        delta_weights=(first, second, third, fourth),
    )


@torch.no_grad()
def detect(model: FasterRcnn, image: AnnotatedImage, settings: SelectionSettings) -> ScoredBoxes:
    """Detect the objects of one image, with boxes in the image's own pixels.

    Raises:
        LxmertError: the image cannot be read, or its size is not that in its annotations.
    """
    pixels = to_network_pixels(load_annotated(image), model.config)
    network_hw = (pixels.shape[1], pixels.shape[2])
    feature_map = model.feature_map(pixels[None].to(model.device))[0]
    selected = select_detections(model.predict(feature_map, network_hw), network_hw, settings)
    attributes = selected.attribute_ids
    return ScoredBoxes(
        boxes_xyxy=to_image_boxes(selected.boxes_xyxy.cpu(), network_hw, image.size_hw),
        object_ids=selected.object_ids.cpu(),
        scores=selected.object_scores.cpu(),
        attribute_ids=None if attributes is None else attributes.cpu(),
    )


def score_detector(
    model: FasterRcnn,
    images: Sequence[AnnotatedImage],
    max_detections: int,
    advance: Callable[[int], None] = lambda done: None,
) -> DetectionReport:
    """Score a detector's detections against annotations.

    Args:
        model: the detector; in evaluation mode meanwhile.
        images: annotated with the detector's ids of classes and attributes.
        max_detections: maximum number of objects of an image.
        advance: called with 1 after each image.

    Raises:
        LxmertError: an image cannot be read, or its size is not that in its annotations.
    """
    was_training, settings = model.training, evaluation_settings(model.config, max_detections)
    model.eval()
    detections: list[ScoredBoxes] = []
    try:
        for image in images:
            detections.append(detect(model, image, settings))
            advance(1)
    finally:
        model.train(was_training)
    truths = [TrueBoxes(image.boxes_xyxy_px, image.object_ids, image.attribute_ids) for image in images]
    return score_detections(detections, truths)


def report_metrics(report: DetectionReport, names: Sequence[str]) -> dict[str, Any]:
    """A report as in metrics.json: percent, classes by name."""
    return {
        "map_50": report.mean_average_precision,
        "attribute_accuracy": report.attribute_accuracy,
        "recall_50": report.recall,
        "average_precision_50": {names[number]: value for number, value in report.average_precision.items()},
    }

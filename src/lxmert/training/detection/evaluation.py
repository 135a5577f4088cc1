"""Scoring a detector on annotated images, one image at a time as in its use."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lxmert.data.boxes import AnnotatedImage
from lxmert.training.detection.dataset import load_annotated
from lxmert.training.metrics.detection import DetectionReport, ScoredBoxes, TrueBoxes, score_detections
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.modeling import FasterRcnn
from lxmert.vision.faster_rcnn.preprocessing import to_image_boxes, to_network_pixels
from lxmert.vision.faster_rcnn.selection import SelectionSettings, select_detections


def scoring_selection(config: FasterRcnnConfig, max_detections: int) -> SelectionSettings:
    """The detector's own selection, but all that is found counts, ranked by score.

    Average precision weighs right and wrong detections by their rank, so there is no score threshold, and
    more objects than a user wants to see.
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
    """What a detector finds in one image, boxes in the image's own pixels.

    Raises:
        LxmertError: the image cannot be read, or has another size than its annotations say.
    """
    pixels = to_network_pixels(load_annotated(image), model.config)
    network_hw = (pixels.shape[1], pixels.shape[2])
    feature_map = model.feature_map(pixels[None].to(model.device))[0]
    found = select_detections(model.predict(feature_map, network_hw), network_hw, settings)
    attributes = found.attribute_ids
    return ScoredBoxes(
        boxes_xyxy=to_image_boxes(found.boxes_xyxy.cpu(), network_hw, image.size_hw),
        object_ids=found.object_ids.cpu(),
        scores=found.object_scores.cpu(),
        attribute_ids=None if attributes is None else attributes.cpu(),
    )


def score_detector(
    model: FasterRcnn,
    images: Sequence[AnnotatedImage],
    max_detections: int,
    advance: Callable[[int], None] = lambda done: None,
) -> DetectionReport:
    """Compare what a detector finds with what is annotated.

    Args:
        model: the detector, in evaluation mode meanwhile.
        images: with the ids of the detector's classes and attributes.
        max_detections: most objects of an image that count.
        advance: called with 1 after each image.

    Raises:
        LxmertError: an image cannot be read, or has another size than its annotations say.
    """
    was_training, settings = model.training, scoring_selection(model.config, max_detections)
    model.eval()
    found: list[ScoredBoxes] = []
    try:
        for image in images:
            found.append(detect(model, image, settings))
            advance(1)
    finally:
        model.train(was_training)
    truths = [TrueBoxes(image.boxes_xyxy_px, image.object_ids, image.attribute_ids) for image in images]
    return score_detections(found, truths)


def figures(report: DetectionReport, names: Sequence[str]) -> dict[str, Any]:
    """A report as it stands in metrics.json: percent, classes by name."""
    return {
        "map_50": report.mean_average_precision,
        "attribute_accuracy": report.attribute_accuracy,
        "recall_50": report.recall,
        "average_precision_50": {names[number]: value for number, value in report.average_precision.items()},
    }

"""Selection of objects straight from its definition, one proposal at a time."""

import math

import torch

from tests.vision.test_nms import nms_by_definition


def exponentials(row):
    return [math.exp(value) for value in row]


def published_by_definition(predictions, size_hw, options):
    """Section 3.4 of Anderson et al. as published, one proposal at a time in doubles."""
    rows = []
    for roi, logits in enumerate(predictions.object_logits.tolist()):
        powers = exponentials(logits)
        label = max(range(len(powers) - 1), key=lambda index: powers[index])
        delta = predictions.deltas[roi, 4 * label : 4 * label + 4].tolist()
        x1, y1, x2, y2 = predictions.proposals_xyxy[roi].tolist()
        dx, dy, dw, dh = (value / weight for value, weight in zip(delta, options.delta_weights, strict=True))
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        width, height = (x2 - x1) * math.exp(dw), (y2 - y1) * math.exp(dh)
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        limits = [size_hw[1], size_hw[0]] * 2
        box = [min(max(edge, 0), limit) for edge, limit in zip(box, limits, strict=True)]
        rows.append((box, powers[label] / sum(powers), label))
    boxes, scores = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    for threshold in options.nms_thresholds:
        kept = nms_by_definition(boxes, scores, threshold)[: options.max_objects]
        if len(kept) >= options.min_objects:
            break
    if options.score_threshold is not None:
        good = sum(scores[index].item() >= options.score_threshold for index in kept)
        kept = kept[: max(good, options.min_objects)]
    return kept, boxes[kept], scores[kept], [rows[index][2] for index in kept]


def caffe_by_definition(predictions, size_hw, options):
    """The feature program's own loop: suppression class by class, each box's best surviving score."""
    limits = torch.tensor([size_hw[1], size_hw[0]] * 2, dtype=torch.float32)
    boxes = predictions.proposals_xyxy.clamp(min=0).minimum(limits)
    confidence = [0.0] * len(predictions)
    scores = predictions.object_logits.softmax(dim=1)
    for label in range(scores.shape[1] - 1):
        for roi in nms_by_definition(boxes, scores[:, label], 0.3):
            confidence[roi] = max(confidence[roi], scores[roi, label].item())
    ranked = sorted(range(len(confidence)), key=lambda roi: -confidence[roi])[: options.max_objects]
    if options.score_threshold is not None:
        good = sum(confidence[roi] >= options.score_threshold for roi in ranked)
        ranked = ranked[: max(good, options.min_objects)]
    return ranked, boxes[ranked]

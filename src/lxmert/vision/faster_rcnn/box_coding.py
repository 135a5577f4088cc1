"""Box regression: boxes as deltas from other boxes, shifts of the centre and logarithms of size ratios.

Source: Girshick et al. 2014 (arXiv 1311.2524), appendix C, with detectron2's weights and upper bound.

Shapes: any leading dimensions, equal or broadcastable between the two arguments.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_LOG_SIZE_RATIO = math.log(1000 / 16)
"""A decoded side is at most 62.5 times that of its box, so that extreme deltas cannot overflow."""


def decode_boxes(deltas: Tensor, boxes_xyxy: Tensor, weights: Sequence[float]) -> Tensor:
    """Apply deltas to boxes.

    Args:
        deltas: (..., 4) shifts in x and y divided by the box's width and height, and logarithms of the width
            and height ratios; each multiplied by its weight.
        boxes_xyxy: (..., 4) the boxes to which they apply, x1, y1, x2, y2.
        weights: the four factors by which the deltas were multiplied.

    Returns:
        (..., 4) decoded boxes x1, y1, x2, y2; not clipped.
    """
    center_x, center_y, width, height = _centers_and_sizes(boxes_xyxy)
    shift_x, shift_y, log_width, log_height = (
        delta / weight for delta, weight in zip(deltas.unbind(-1), weights, strict=True)
    )
    new_x = shift_x * width + center_x
    new_y = shift_y * height + center_y
    half_width = 0.5 * (torch.exp(log_width.clamp(max=MAX_LOG_SIZE_RATIO)) * width)
    half_height = 0.5 * (torch.exp(log_height.clamp(max=MAX_LOG_SIZE_RATIO)) * height)
    return torch.stack(
        [new_x - half_width, new_y - half_height, new_x + half_width, new_y + half_height], dim=-1
    )


def encode_boxes(targets_xyxy: Tensor, boxes_xyxy: Tensor, weights: Sequence[float]) -> Tensor:
    """Compute the deltas that turn boxes into targets, the inverse of `decode_boxes`.

    Args:
        targets_xyxy: (..., 4) target boxes x1, y1, x2, y2, with positive width and height.
        boxes_xyxy: (..., 4) boxes to be shifted and resized, with positive width and height.
        weights: four factors by which to multiply the deltas.

    Returns:
        (..., 4) deltas, each multiplied by its weight; infinite or NaN for boxes without area.
    """
    center_x, center_y, width, height = _centers_and_sizes(boxes_xyxy)
    target_x, target_y, target_width, target_height = _centers_and_sizes(targets_xyxy)
    deltas = torch.stack(
        [
            (target_x - center_x) / width,
            (target_y - center_y) / height,
            torch.log(target_width / width),
            torch.log(target_height / height),
        ],
        dim=-1,
    )
    return deltas * deltas.new_tensor(weights)


def deltas_of_class(deltas: Tensor, object_ids: Tensor) -> Tensor:
    """Select from deltas (R, 4K), grouped by class, those of each RoI's own class (R,): (R, 4)."""
    by_class = deltas.unflatten(1, (-1, 4))  # (R, K, 4)
    return by_class[torch.arange(len(deltas), device=deltas.device), object_ids]


def _centers_and_sizes(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
    width, height = x2 - x1, y2 - y1
    return x1 + 0.5 * width, y1 + 0.5 * height, width, height

"""Boxes as corrections of other boxes: shift of the centre and logarithm of the size ratio.

Source: Girshick et al. 2014 (arXiv 1311.2524), appendix C, with detectron2's weights and upper bound.

Shapes: any leading dimensions, the same for both arguments or broadcast against each other.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_LOG_SIZE_RATIO = math.log(1000 / 16)
"""A decoded side is at most 62.5 times that of its box: a wild correction must not overflow."""


def decode_boxes(deltas: Tensor, boxes_xyxy: Tensor, weights: Sequence[float]) -> Tensor:
    """Apply corrections to boxes.

    Args:
        deltas: (..., 4) shift in x and y over the box's width and height, logarithms of the ratios of width
            and height; each times its weight.
        boxes_xyxy: (..., 4) the boxes they correct, x1, y1, x2, y2.
        weights: four numbers by which the corrections were multiplied.

    Returns:
        (..., 4) corrected boxes x1, y1, x2, y2; not clipped.
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
    """The corrections that turn boxes into targets; `decode_boxes` undoes it.

    Args:
        targets_xyxy: (..., 4) wanted boxes x1, y1, x2, y2, with positive width and height.
        boxes_xyxy: (..., 4) boxes to be corrected, with positive width and height.
        weights: four numbers to multiply the corrections by.

    Returns:
        (..., 4) corrections, each times its weight. A box without area gives infinities or NaN.
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


def _centers_and_sizes(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
    width, height = x2 - x1, y2 - y1
    return x1 + 0.5 * width, y1 + 0.5 * height, width, height

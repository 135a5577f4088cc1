"""Box geometry in pure torch: areas, overlaps, conversions, and the validation of all boxes.

Boxes are (N, 4) tensors x1, y1, x2, y2 in pixels of the original image, the origin at the top left
corner of the top left pixel, so that the whole image of height h and width w is the box (0, 0, w, h).

Shapes: N, M boxes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.faults import tensor_layout_fault

BoxesLike = Tensor | np.ndarray | Sequence[Sequence[float]]

_OVERSHOOT_TOLERANCE_PX = 1.0
"""Detectors and annotators round; a box may exceed the image by this much before it is an error."""

_MIN_SIDE_OF_FRACTIONS_PX = 16
"""In images with a shorter side, boxes may well lie inside the first pixel."""

_EDGES = ("left", "top", "right", "bottom")


def area(boxes_xyxy: Tensor) -> Tensor:
    """Area of each box, (N, 4) -> (N,); a box with swapped corners has area 0."""
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def intersection(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Area of the intersection of each box of the first set with each of the second, -> (N, M)."""
    top_left = torch.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    bottom_right = torch.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    sides = (bottom_right - top_left).clamp(min=0)  # (N, M, 2)
    return sides[..., 0] * sides[..., 1]


def iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Intersection over union, (N, 4), (M, 4) -> (N, M) in 0..1; 0 if both boxes are empty."""
    overlap = intersection(first_xyxy, second_xyxy)
    union = area(first_xyxy)[:, None] + area(second_xyxy)[None, :] - overlap
    return torch.where(union > 0, overlap / union, torch.zeros_like(overlap))


def clip(boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Clip boxes (N, 4) to an image of (height, width)."""
    height, width = size_hw
    limit = boxes_xyxy.new_tensor([width, height, width, height])
    return torch.minimum(boxes_xyxy.clamp(min=0), limit)


def clip_non_empty(boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Clip boxes to an image, and widen sides below one pixel to one pixel about their centre.

    Detectors may return boxes without area, or beyond the edge; every object must have a position.

    Args:
        boxes_xyxy: (N, 4).
        size_hw: height and width of the image in pixels, at least 1 each.
    """
    height, width = size_hw
    clipped = clip(boxes_xyxy, size_hw)
    limit = boxes_xyxy.new_tensor([width, height])
    start, end = clipped[:, :2], clipped[:, 2:]
    middle = ((start + end) / 2).clamp(min=0.5).minimum(limit - 0.5)
    narrow = end - start < 1
    start = torch.where(narrow, middle - 0.5, start)
    end = torch.where(narrow, middle + 0.5, end)
    return torch.cat([start, end], dim=1)


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Centre, width, height (DETR's form) -> x1, y1, x2, y2; (N, 4) -> (N, 4)."""
    half = boxes_cxcywh[:, 2:] / 2
    return torch.cat([boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half], dim=1)


def as_boxes(boxes: BoxesLike) -> Tensor:
    """Convert a tensor, array or nested list of N boxes to a (N, 4) float32 tensor; an empty list to (0, 4).

    Raises:
        RegionsError: not numbers, not four per box, or not a dense tensor.
    """
    try:
        tensor = torch.as_tensor(_to_plain_numbers(boxes))
    except (TypeError, ValueError, RuntimeError) as error:
        raise RegionsError(
            f"boxes cannot be read as numbers ({error}); expected N rows of x1, y1, x2, y2 in pixels"
        ) from error
    if fault := tensor_layout_fault("set of boxes", tensor):
        raise RegionsError(fault)
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise RegionsError(f"boxes have dtype {tensor.dtype}; expected pixels as float32")
    if tensor.ndim == 1 and len(tensor) == 0:
        tensor = tensor.reshape(0, 4)
    if tensor.ndim != 2 or tensor.shape[1] != 4:
        raise RegionsError(
            f"boxes have shape {tuple(tensor.shape)}; expected (N, 4), each row x1, y1, x2, y2 in pixels"
        )
    return tensor.to(torch.float32)


def _to_plain_numbers(boxes: Any) -> Any:
    """Convert lists of arrays, tensors or NumPy numbers to lists of plain numbers; leave all else alone."""
    if not _is_list(boxes):
        return boxes
    return [item.tolist() if hasattr(item, "tolist") else _to_plain_numbers(item) for item in boxes]


def as_boxes_list(boxes: BoxesLike | Sequence[BoxesLike], images: int) -> list[Tensor]:
    """Convert one set of boxes, or one for each image, to a list of (N, 4) float32 tensors, one per image.

    An empty list is the empty set of a single image.

    Raises:
        RegionsError: not as many sets as images, or a set that is not (N, 4) numbers.
    """
    sets: list[Any] = [boxes] if _is_one_set(boxes, images) else list(boxes)
    check_one_set_per_image(sets, images)
    return [as_boxes(boxes_of_image) for boxes_of_image in sets]


def check_one_set_per_image(sets: Sequence[Any], images: int) -> None:
    """Check that there is one set of boxes for each image.

    Raises:
        RegionsError: there are more or fewer.
    """
    if len(sets) != images:
        raise RegionsError(f"{len(sets)} sets of boxes for {images} images; expected one (N, 4) set for each")


def _is_one_set(boxes: Any, images: int) -> bool:
    depth = _depth(boxes)
    if depth is None:
        return images == 1 and len(boxes) == 0
    return depth <= 2


def _depth(boxes: Any) -> int | None:
    """Return the nesting depth of numbers, in lists or arrays; None if lists are empty."""
    if isinstance(boxes, (Tensor, np.ndarray)) and boxes.dtype != object:
        return None if boxes.ndim == 1 and len(boxes) == 0 else boxes.ndim
    if not _is_list(boxes) and not isinstance(boxes, np.ndarray):
        return 0
    depths = [depth for depth in map(_depth, boxes) if depth is not None]
    return 1 + max(depths) if depths else None


def _is_list(boxes: Any) -> bool:
    return isinstance(boxes, Sequence) and not isinstance(boxes, (str, bytes))


def validate_boxes(boxes: BoxesLike, size_hw: tuple[int, int]) -> Tensor:
    """Check boxes against their image and clamp small overshoots.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the image.
        size_hw: height and width of the image in pixels.

    Returns:
        (N, 4) float32, finite, inside the image, x1 < x2 and y1 < y2. The input is not changed.

    Raises:
        RegionsError: naming the first invalid box, its fault and by how much.
    """
    checked = as_boxes(boxes)
    height, width = size_hw
    _reject_first(checked, ~torch.isfinite(checked).all(dim=1), "every coordinate must be a finite number")
    _reject_swapped(checked)

    low = -checked[:, :2]
    high = checked[:, 2:] - checked.new_tensor([width, height])
    overshoot = torch.cat([low, high], dim=1)  # (N, 4): beyond left, top, right, bottom
    outside = overshoot > _OVERSHOOT_TOLERANCE_PX
    if outside.any():
        row = int(outside.any(dim=1).nonzero()[0])
        edge = int(overshoot[row].argmax())
        raise RegionsError(
            f"box {row} is {_format_box(checked[row])}: it lies {overshoot[row, edge].item():g} px beyond "
            f"the {_EDGES[edge]} edge of the image, which is {width} px wide and {height} px high; "
            f"expected x1, y1, x2, y2 in pixels of this image"
        )
    clipped = clip(checked, size_hw)
    _reject_first(
        checked,
        ~(clipped[:, 2:] > clipped[:, :2]).all(dim=1),
        f"no part of it is inside the image, which is {width} px wide and {height} px high",
    )
    return clipped


def validate_given_boxes(boxes: BoxesLike, size_hw: tuple[int, int]) -> Tensor:
    """`validate_boxes` for boxes from a user, who may have given fractions of the image by mistake.

    Raises:
        RegionsError: see `validate_boxes`; or all boxes of a large image lie inside its first pixel.
    """
    checked = validate_boxes(boxes, size_hw)
    height, width = size_hw
    if len(checked) and min(size_hw) >= _MIN_SIDE_OF_FRACTIONS_PX and float(checked.max()) <= 1:
        raise RegionsError(
            f"no box reaches beyond the first pixel of the image, box 0 is {_format_box(checked[0])}: these "
            f"seem to be fractions of it; expected pixels, so multiply x by {width} and y by {height}"
        )
    return checked


def _reject_swapped(boxes: Tensor) -> None:
    for name, start, end in (("x", 0, 2), ("y", 1, 3)):
        wrong = ~(boxes[:, end] > boxes[:, start])
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise RegionsError(
                f"box {row} is {_format_box(boxes[row])}: {name}2 = {boxes[row, end].item():g} is not "
                f"greater than {name}1 = {boxes[row, start].item():g}; expected x1, y1, x2, y2 "
                "(not x, y, width, height)"
            )


def _reject_first(boxes: Tensor, faulty: Tensor, why: str) -> None:
    if faulty.any():
        row = int(faulty.nonzero()[0])
        raise RegionsError(f"box {row} is {_format_box(boxes[row])}: {why}")


def _format_box(box: Tensor) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box.tolist()) + ")"

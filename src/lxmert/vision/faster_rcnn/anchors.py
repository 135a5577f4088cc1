"""Anchors: the boxes that the proposal network corrects, the same set at every cell of the feature map.

Source: Ren et al. 2015 (arXiv 1506.01497) as laid out by detectron2: centred on the top left corner of a
cell, not on its middle.

Shapes: A anchors a cell, H×W cells.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lxmert.errors import ConfigurationError


def cell_anchors(sizes_px: Sequence[float], aspect_ratios: Sequence[float]) -> Tensor:
    """Anchors of the cell at the origin, sizes in the outer loop, ratios in the inner.

    Args:
        sizes_px: square root of an anchor's area, in pixels of the network's input.
        aspect_ratios: height divided by width.

    Returns:
        (A, 4) float32 x1, y1, x2, y2 around (0, 0), rounded once from doubles.

    Raises:
        ConfigurationError: no sizes or no ratios, or one that is not above 0.
    """
    for name, values in (("anchor sizes", sizes_px), ("anchor ratios", aspect_ratios)):
        if not values or not all(math.isfinite(value) and value > 0 for value in values):
            raise ConfigurationError(f"{name} are {list(values)}; expected one or more numbers above 0")
    corners = []
    for size in sizes_px:
        for ratio in aspect_ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            corners.append((-width / 2, -height / 2, width / 2, height / 2))
    return torch.tensor(corners, dtype=torch.float32)


def grid_anchors(cell: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Anchors of every cell, row by row, and in each cell in the order of `cell`.

    Args:
        cell: (A, 4) anchors of one cell, x1, y1, x2, y2 in pixels.
        height: cells of the feature map from top to bottom.
        width: cells of the feature map from left to right.
        stride: pixels of the network's input per cell.

    Returns:
        (H·W·A, 4) in dtype and on the device of `cell`; order y, x, anchor.
    """
    left = torch.arange(width, dtype=cell.dtype, device=cell.device) * stride
    top = torch.arange(height, dtype=cell.dtype, device=cell.device) * stride
    y, x = torch.meshgrid(top, left, indexing="ij")  # (H, W) each
    corners = torch.stack([x, y, x, y], dim=2)  # (H, W, 4)
    return (corners[:, :, None] + cell).reshape(-1, 4)

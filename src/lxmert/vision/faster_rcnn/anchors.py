"""Anchors: the reference boxes of the region proposal network, the same set at every feature map cell.

Source: Ren et al. 2015 (arXiv 1506.01497), placed as in detectron2: centred on a cell's top left corner, not
on its centre.

Shapes: A anchors per cell, H×W cells.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lxmert.errors import ConfigurationError


def cell_anchors(sizes_px: Sequence[float], aspect_ratios: Sequence[float]) -> Tensor:
    """Generate the anchors of the cell at the origin, ordered by size and then by ratio.

    Args:
        sizes_px: square roots of the anchors' areas, in pixels of the network's input.
        aspect_ratios: height divided by width.

    Returns:
        (A, 4) float32 x1, y1, x2, y2 around (0, 0), computed in double precision and rounded once.

    Raises:
        ConfigurationError: no sizes or no ratios, or a value that is not finite and above 0.
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
    """Generate the anchors of all cells in row-major order, those of each cell in the order of `cell`.

    Args:
        cell: (A, 4) anchors of the cell at the origin, x1, y1, x2, y2 in pixels of the network's input.
        height: height H of the feature map in cells.
        width: width W of the feature map in cells.
        stride: pixels of the network's input per cell.

    Returns:
        (H·W·A, 4) with the dtype and device of `cell`; order y, x, anchor.
    """
    left = torch.arange(width, dtype=cell.dtype, device=cell.device) * stride
    top = torch.arange(height, dtype=cell.dtype, device=cell.device) * stride
    y, x = torch.meshgrid(top, left, indexing="ij")  # (H, W) each
    corners = torch.stack([x, y, x, y], dim=2)  # (H, W, 4)
    return (corners[:, :, None] + cell).reshape(-1, 4)

"""`PooledPixels`: the simplest feature of a box, its downscaled crop.

`BackboneEncoder` (in `backbone_encoder`) uses any vision backbone of `transformers` instead.

Shapes: N boxes, H height and W width of the image, S side of the downscaled crop in pixels.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lxmert.errors import ConfigurationError
from lxmert.faults import is_int_in_range


class PooledPixels:
    """The crop of each box, averaged by area to `size`×`size` RGB pixels.

    Every cell of the S×S grid over a box is the exact mean of the picture under it, pixels partly covered
    being weighted by their share; so boxes narrower than S pixels, or than one pixel, are handled correctly.

    Black is -1 and white is 1. Values of 0..1 would share a large positive mean, which would dominate the
    layer normalisation after the model's first linear layer: all objects would look alike, and learning would
    start late.

    Args:
        size: side S of the downscaled crop; there are 3·S² features, red, green, blue planes row by row.

    Raises:
        ConfigurationError: a size below 1.
    """

    def __init__(self, size: int = 8) -> None:
        if not is_int_in_range(size, 1):
            raise ConfigurationError(f"pooled pixel size is {size!r}; expected a whole number of at least 1")
        self.size = size

    @property
    def identity(self) -> str:
        """For example "pooled-pixels-8"."""
        return f"pooled-pixels-{self.size}"

    @property
    def feature_dim(self) -> int:
        """3·S²."""
        return 3 * self.size**2

    def __call__(self, image: Image.Image, boxes_xyxy_px: Tensor) -> Tensor:
        """Encode boxes (N, 4), x1, y1, x2, y2 inside the RGB image, to (N, 3·S²) float32 in -1..1."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # (3, H, W) uint8
        boxes = boxes_xyxy_px.detach().to("cpu", torch.float64)
        rows = cell_weights(boxes[:, 1], boxes[:, 3], self.size, pixels.shape[1])  # (N, S, H)
        columns = cell_weights(boxes[:, 0], boxes[:, 2], self.size, pixels.shape[2])  # (N, S, W)
        starts = boxes[:, :2].floor().long().tolist()
        ends = boxes[:, 2:].ceil().long().tolist()
        features = torch.empty(len(boxes), 3, self.size, self.size)
        for index, ((left, top), (right, bottom)) in enumerate(zip(starts, ends, strict=True)):
            crop = pixels[:, top:bottom, left:right].to(torch.float32)  # (3, h, w)
            across = crop @ columns[index, :, left:right].T  # (3, h, S)
            torch.matmul(rows[index, :, top:bottom], across, out=features[index])  # (3, S, S)
        return features.flatten(1).div_(127.5).sub_(1.0).clamp_(-1.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """`{"kind": "pooled_pixels", "size": S}`."""
        return {"kind": "pooled_pixels", "size": self.size}


def cell_weights(starts: Tensor, ends: Tensor, cells: int, pixels: int) -> Tensor:
    """Return the weight of every pixel in each of the equal cells between start and end.

    Args:
        starts: (N,) float64, starts of the intervals, in pixels.
        ends: (N,) float64, their ends.
        cells: number of cells S per interval.
        pixels: length L of the axis.

    Returns:
        (N, S, L) float32; each row sums to 1.
    """
    step = ((ends - starts) / cells)[:, None]  # (N, 1)
    low = starts[:, None] + step * torch.arange(cells, dtype=torch.float64)  # (N, S)
    pixel = torch.arange(pixels, dtype=torch.float64)
    overlap = torch.minimum((low + step)[..., None], pixel + 1) - torch.maximum(low[..., None], pixel)
    overlap = overlap.clamp_(min=0)
    return (overlap / overlap.sum(dim=2, keepdim=True)).to(torch.float32)

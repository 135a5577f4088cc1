"""Features of boxes cut from a feature map: quantised max pooling (RoIPool) and RoIAlign, in pure torch.

Sources: RoIPool, Girshick 2015 (arXiv 1504.08083) with the rounding of its C implementations, which the
published detector was trained with; RoIAlign, He et al. 2017 (arXiv 1703.06870) with the half-pixel
correction that detectron2 calls "aligned".

Shapes: C channels, H×W cells of the feature map, R boxes, P×P bins a box, S×S samples a bin, L window sizes.
"""

from functools import reduce
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from lxmert.errors import TensorError

_TABLE_BYTES = 64 * 2**20
"""Memory limit of the maxima over larger windows, besides the feature map itself."""

_CPU_CHUNK_BYTES = 2**20
"""Boxes are pooled a few at a time, so that data accessed repeatedly stays in the cache."""

_DEVICE_CHUNK_BYTES = 2**28
"""On an accelerator every chunk costs launches, but memory still needs a bound."""


class _Spans(NamedTuple):
    """The cells that each bin covers along one axis."""

    start: Tensor  # (R, P) int64 first cell, inside the map
    length: Tensor  # (R, P) int64 number of cells, 0 for a bin beyond the map

    def select(self, rows: slice) -> "_Spans":
        return _Spans(self.start[rows], self.length[rows])


class MaxPoolTables:
    """Maxima over windows of one feature map, for pooling any number of boxes from it.

    A bin of any size is the union of overlapping windows whose sides are powers of two, and a maximum may
    count a cell twice. The maxima of the windows are computed once; a bin then costs one to four look-ups of
    C contiguous numbers, or a few more if the memory limit excludes large windows.

    Args:
        feature_map: (C, H, W) floating point; channels_last saves a copy. Gradients flow back to it.
        resolution: bins along each side, P.

    Raises:
        TensorError: a map that is not (C, H, W) floating point with at least one cell, or no bins.
    """

    def __init__(self, feature_map: Tensor, resolution: int) -> None:
        _check_map(feature_map, resolution)
        self.resolution = resolution
        self.channels, self.height, self.width = feature_map.shape
        # A box of the whole map spans one cell more than the map has (both its edges round outwards).
        longest_bin = -(-(max(self.height, self.width) + 1) // resolution) + 1
        self._levels = min(longest_bin, max(self.height, self.width)).bit_length()
        map_bytes = feature_map.numel() * feature_map.element_size()
        while self._levels > 1 and (self._levels**2 - 1) * map_bytes > _TABLE_BYTES:
            self._levels -= 1
        cells = feature_map.permute(1, 2, 0).contiguous()  # (H, W, C)
        self._rows = _window_maxima(cells, self._levels).flatten(0, 3)  # (L·L·H·W, C)

    def __call__(self, boxes_xyxy: Tensor, scale: float) -> Tensor:
        """Pool each box; see `roi_max_pool`.

        Args:
            boxes_xyxy: (R, 4) in pixels of the network's input.
            scale: cells per pixel, for example 1 / 16.

        Returns:
            (R, C, P, P) in the feature map's dtype, channels_last in memory.
        """
        boxes = _validate_boxes(boxes_xyxy).to(self._rows.device)
        across = _bin_spans(boxes[:, 0], boxes[:, 2], scale, self.resolution, self.width)
        down = _bin_spans(boxes[:, 1], boxes[:, 3], scale, self.resolution, self.height)
        chunk = _boxes_per_chunk(self._rows, self.resolution**2 * self.channels)
        pooled = [
            self._pool(down.select(rows), across.select(rows))
            for rows in (slice(first, first + chunk) for first in range(0, len(boxes), chunk))
        ]
        joined = torch.cat(pooled) if pooled else self._rows.new_empty(0, self.channels)
        shape = (len(boxes), self.resolution, self.resolution, self.channels)
        return joined.view(shape).permute(0, 3, 1, 2)

    def _pool(self, down: _Spans, across: _Spans) -> Tensor:
        """Maximum of each bin of a few boxes: -> (R·P·P, C); 0 for a bin without cells."""
        pairs = product(
            self._window_indices(down, self._levels * self.height * self.width, self.width),
            self._window_indices(across, self.height * self.width, 1),
        )
        window_maxima = (
            self._rows.index_select(0, (y_row[:, :, None] + x_row[:, None, :]).flatten())  # (R·P·P, C)
            for y_row, x_row in pairs
        )
        maxima = reduce(torch.maximum, window_maxima)
        empty = ((down.length == 0)[:, :, None] | (across.length == 0)[:, None, :]).flatten()
        return maxima.masked_fill(empty[:, None], 0) if bool(empty.any()) else maxima

    def _window_indices(self, spans: _Spans, level_stride: int, cell_stride: int) -> list[Tensor]:
        """Return the windows that cover each bin along one axis, as (R, P) terms of row numbers."""
        length = spans.length.clamp(min=1)
        level = torch.zeros_like(length)
        for exponent in range(1, self._levels):
            level += length >= 2**exponent
        window = 2**level
        count = int(((length + window - 1) // window).max())
        offsets = ((window * step).minimum(length - window) for step in range(count))
        return [level * level_stride + (spans.start + offset) * cell_stride for offset in offsets]


def roi_max_pool(feature_map: Tensor, boxes_xyxy: Tensor, *, scale: float, resolution: int) -> Tensor:
    """Return the maximum in each of P×P bins of each box (RoIPool), all coordinates rounded to whole cells.

    All in float32, as in the C implementations: first and last cell are `box · scale` rounded, halves away
    from zero; the box has `n = max(last - first + 1, 1)` cells, a bin `n / P`, and bin k covers the cells
    from `floor(k · n / P)` up to but not including `ceil((k + 1) · n / P)`, clipped to the map. Neighbouring
    bins may share cells. To pool from one map several times, keep a `MaxPoolTables`.

    Args:
        feature_map: (C, H, W) floating point.
        boxes_xyxy: (R, 4) in pixels of the network's input; they may exceed the map.
        scale: cells per pixel, for example 1 / 16.
        resolution: bins along each side, P.

    Returns:
        (R, C, P, P) in the feature map's dtype; 0 for a bin without cells. The gradient goes to the largest
        cell of each bin, divided among equal ones.

    Raises:
        TensorError: wrong shapes or dtypes, coordinates that are not finite, or no bins.
    """
    return MaxPoolTables(feature_map, resolution)(boxes_xyxy, scale)


def roi_align(
    feature_map: Tensor, boxes_xyxy: Tensor, *, scale: float, resolution: int, samples: int = 2
) -> Tensor:
    """Return the mean of S×S bilinear samples in each of P×P bins of each box (RoIAlign, half-pixel variant).

    Cell (y, x) of the map is a sample at its centre, hence `box · scale - 0.5`; nothing is rounded. A sample
    up to one cell outside the map has the value at the edge, one further out is 0. The bilinear weights of a
    point are a product over the two axes, and so is their mean over a grid of points: each bin is a weighted
    sum over rows of a weighted sum over columns, two matrix products.

    Args:
        feature_map: (C, H, W) floating point.
        boxes_xyxy: (R, 4) in pixels of the network's input; they may exceed the map.
        scale: cells per pixel, for example 1 / 16.
        resolution: bins along each side, P.
        samples: sample points along each side of a bin, S.

    Returns:
        (R, C, P, P) in the feature map's dtype, channels_last in memory; differentiable in the map.

    Raises:
        TensorError: wrong shapes or dtypes, coordinates that are not finite, no bins or no samples.
    """
    _check_map(feature_map, resolution)
    if samples < 1:
        raise TensorError(f"samples is {samples}; expected at least 1 sample point along each side of a bin")
    channels, height, width = feature_map.shape
    boxes = _validate_boxes(boxes_xyxy).to(feature_map.device)
    start, end = boxes[:, :2] * scale - 0.5, boxes[:, 2:] * scale - 0.5
    across = _sample_weights(start[:, 0], end[:, 0], resolution, samples, width).to(feature_map.dtype)
    down = _sample_weights(start[:, 1], end[:, 1], resolution, samples, height).to(feature_map.dtype)

    lines = feature_map.permute(1, 2, 0)  # (H, W, C)
    chunk = _boxes_per_chunk(feature_map, height * resolution * channels)
    pooled = []
    for first in range(0, len(boxes), chunk):
        rows = slice(first, first + chunk)
        narrowed = across[rows].flatten(0, 1) @ lines  # (R·P, W) @ (H, W, C) -> (H, R·P, C)
        by_box = narrowed.view(height, -1, resolution * channels).transpose(0, 1)  # (R, H, P·C)
        pooled.append(down[rows] @ by_box)  # (R, P, P·C)
    joined = torch.cat(pooled) if pooled else feature_map.new_empty(0)
    return joined.view(len(boxes), resolution, resolution, channels).permute(0, 3, 1, 2)


def _window_maxima(cells: Tensor, levels: int) -> Tensor:
    """Compute maxima over windows of 2^a×2^b cells from each cell on, clipped to the map: (L, L, H, W, C)."""
    tall = [cells]
    for level in range(1, levels):
        tall.append(_double_windows(tall[-1], 2 ** (level - 1), 0))
    tables = []
    for column_maxima in tall:
        row = [column_maxima]
        for level in range(1, levels):
            row.append(_double_windows(row[-1], 2 ** (level - 1), 1))
        tables.extend(row)
    return torch.stack(tables).unflatten(0, (levels, levels))


def _double_windows(maxima: Tensor, step: int, axis: int) -> Tensor:
    """Compute maxima over windows of twice the side, from those of side `step`."""
    size = maxima.shape[axis]
    if step >= size:
        return maxima
    both = torch.maximum(maxima.narrow(axis, 0, size - step), maxima.narrow(axis, step, size - step))
    return torch.cat([both, maxima.narrow(axis, size - step, step)], dim=axis)


def _bin_spans(low: Tensor, high: Tensor, scale: float, resolution: int, size: int) -> _Spans:
    """Compute the cells of each bin along one axis of `size` cells: edges (R,) in pixels -> spans (R, P)."""
    first = _round_half_away(low * scale)
    extent = (_round_half_away(high * scale) - first + 1).clamp(min=1)
    # A tensor divisor: float32 by float32, as in C. Extents such as 57 depend on this rounding.
    bin_cells = (extent / torch.full_like(extent, resolution))[:, None]  # (R, 1)
    edges = torch.arange(resolution + 1, dtype=torch.float32, device=low.device)  # (P + 1,)
    start = (torch.floor(edges[:-1] * bin_cells) + first[:, None]).clamp(0, size)
    end = (torch.ceil(edges[1:] * bin_cells) + first[:, None]).clamp(0, size)
    length = (end - start).clamp(min=0).long()
    return _Spans(start.long().clamp(max=size - 1), length)


def _round_half_away(values: Tensor) -> Tensor:
    """Round as in C: halves away from zero (torch rounds them to even)."""
    size = values.abs()
    whole = size.floor()
    return (whole + (size - whole >= 0.5)) * values.sign()


def _sample_weights(start: Tensor, end: Tensor, resolution: int, samples: int, size: int) -> Tensor:
    """Return each cell's weight in the mean of a bin's samples along one axis: (R,), (R,) -> (R, P, size)."""
    points = (torch.arange(resolution * samples, dtype=torch.float32, device=start.device) + 0.5) / samples
    positions = start[:, None] + points * ((end - start) / resolution)[:, None]  # (R, P·S) in cells
    inside = (positions >= -1) & (positions <= size)
    cells = torch.arange(size, dtype=torch.float32, device=start.device)
    distance = (positions.clamp(0, size - 1)[:, :, None] - cells).abs()  # (R, P·S, size)
    weights = (1 - distance).clamp(min=0) * inside[:, :, None]
    return weights.unflatten(1, (resolution, samples)).mean(dim=2)


def _boxes_per_chunk(like: Tensor, elements_per_box: int) -> int:
    budget = _CPU_CHUNK_BYTES if like.device.type == "cpu" else _DEVICE_CHUNK_BYTES
    return max(budget // (elements_per_box * like.element_size()), 1)


def _validate_boxes(boxes_xyxy: Tensor) -> Tensor:
    """Return boxes (R, 4) as float32 without gradient, after checking them.

    Raises:
        TensorError: not (R, 4), or a coordinate that is not finite.
    """
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise TensorError(f"boxes have shape {tuple(boxes_xyxy.shape)}; expected (R, 4), rows x1, y1, x2, y2")
    if not bool(torch.isfinite(boxes_xyxy).all()):
        raise TensorError("a box to pool has a coordinate that is not finite; check what made the boxes")
    return boxes_xyxy.detach().float()


def _check_map(feature_map: Tensor, resolution: int) -> None:
    if feature_map.ndim != 3 or not feature_map.is_floating_point() or feature_map.numel() == 0:
        raise TensorError(
            f"the feature map is {feature_map.dtype} of shape {tuple(feature_map.shape)}; expected (C, H, W) "
            f"floating point with at least one cell, the map of one image"
        )
    if resolution < 1:
        raise TensorError(f"resolution is {resolution}; expected at least 1 bin along each side of a box")

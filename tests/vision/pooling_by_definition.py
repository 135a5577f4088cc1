"""RoI pooling straight from its definition, one bin and one sample at a time."""

import math

import numpy as np
import torch


def c_round(value):
    """C's round, for doubles that hold a float32 exactly."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def cells_by_definition(low, high, scale, resolution, size):
    """First cell and the cell after the last of each bin along one axis, in float32 steps."""
    start = c_round(float(np.float32(low) * np.float32(scale)))
    end = c_round(float(np.float32(high) * np.float32(scale)))
    bin_size = np.float32(max(end - start + 1, 1)) / np.float32(resolution)
    for number in range(resolution):
        first = int(np.floor(np.float32(number) * bin_size)) + start
        last = int(np.ceil(np.float32(number + 1) * bin_size)) + start
        yield min(max(first, 0), size), min(max(last, 0), size)


def max_pool_by_definition(feature_map, boxes, scale, resolution):
    channels, height, width = feature_map.shape
    pooled = feature_map.new_zeros(len(boxes), channels, resolution, resolution)
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        for row, (top, bottom) in enumerate(cells_by_definition(y1, y2, scale, resolution, height)):
            for column, (left, right) in enumerate(cells_by_definition(x1, x2, scale, resolution, width)):
                if bottom > top and right > left:
                    cells = feature_map[:, top:bottom, left:right]
                    pooled[number, :, row, column] = cells.amax(dim=(1, 2))
    return pooled


def bilinear_by_definition(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = plane[top, left] * (1 - across) + plane[top, right] * across
    lower = plane[bottom, left] * (1 - across) + plane[bottom, right] * across
    return float(upper * (1 - down) + lower * down)


def align_by_definition(feature_map, boxes, scale, resolution, samples):
    planes = feature_map.double().numpy()
    pooled = np.zeros((len(boxes), len(planes), resolution, resolution))
    for number, box in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = (edge * scale - 0.5 for edge in box)
        bin_width, bin_height = (x2 - x1) / resolution, (y2 - y1) / resolution
        offsets = [(step + 0.5) / samples for step in range(samples)]
        for index in np.ndindex(len(planes), resolution, resolution):
            channel, row, column = index
            values = [
                bilinear_by_definition(
                    planes[channel], y1 + (row + down) * bin_height, x1 + (column + across) * bin_width
                )
                for down in offsets
                for across in offsets
            ]
            pooled[(number, *index)] = sum(values) / len(values)
    return torch.from_numpy(pooled)

"""Hypothesis strategies and golden files for the tests of boxes."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor


@st.composite
def lattice_boxes(draw, at_most=12, side=6, degenerate=True):
    """Boxes with corners on a small lattice: many equal boxes, equal overlaps and boxes without area."""
    smallest = 0 if degenerate else 1
    rows = []
    for _ in range(draw(st.integers(0, at_most))):
        x1, y1 = draw(st.integers(0, side - smallest)), draw(st.integers(0, side - smallest))
        x2, y2 = draw(st.integers(x1 + smallest, side)), draw(st.integers(y1 + smallest, side))
        rows.append([x1, y1, x2, y2])
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@st.composite
def scored_boxes(draw, at_most=12, side=6):
    """Lattice boxes with scores of only a few different values, so that ties are common."""
    boxes = draw(lattice_boxes(at_most, side))
    scores = draw(st.lists(st.integers(0, 4), min_size=len(boxes), max_size=len(boxes)))
    return boxes, torch.tensor(scores, dtype=torch.float32).reshape(-1) / 8


def golden(specs: Path, name: str) -> dict[str, Tensor]:
    """The arrays of a golden file of the detector's units."""
    with np.load(specs / "faster_rcnn" / "units" / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

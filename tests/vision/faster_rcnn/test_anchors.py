import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.errors import ConfigurationError
from lxmert.vision.faster_rcnn.anchors import cell_anchors, grid_anchors
from tests.vision.box_strategies import golden


def test_golden_anchors_are_exact(shared_specs):
    arrays = golden(shared_specs, "anchors")
    cell = cell_anchors([64, 128, 256, 512], [0.5, 1, 2])
    assert torch.equal(cell, arrays["cell"])
    assert torch.equal(grid_anchors(cell, 2, 3, 16), arrays["grid_2x3"])


def test_anchors_computed_by_hand():
    found = cell_anchors([8], [0.25, 1, 4])
    # Area 64: 16 wide and 4 high, 8 and 8, 4 and 16.
    assert found.tolist() == [[-8.0, -2.0, 8.0, 2.0], [-4.0, -4.0, 4.0, 4.0], [-2.0, -8.0, 2.0, 8.0]]
    assert found.dtype == torch.float32


@given(
    st.lists(st.floats(1, 600), min_size=1, max_size=3), st.lists(st.floats(0.1, 10), min_size=1, max_size=3)
)
@settings(max_examples=50, deadline=None)
def test_anchors_have_the_area_and_ratio_asked_for_in_the_order_asked_for(sizes, ratios):
    wanted = [(size, ratio) for size in sizes for ratio in ratios]
    for (x1, y1, x2, y2), (size, ratio) in zip(cell_anchors(sizes, ratios).tolist(), wanted, strict=True):
        assert (x1, y1) == (-x2, -y2)
        assert math.isclose((x2 - x1) * (y2 - y1), size**2, rel_tol=1e-5)
        assert math.isclose((y2 - y1) / (x2 - x1), ratio, rel_tol=1e-5)


def test_grid_anchors_are_row_major_and_start_at_cell_corner():
    cell = torch.tensor([[-1.0, -2.0, 1.0, 2.0], [-3.0, -1.0, 3.0, 1.0]])
    found = grid_anchors(cell, height=3, width=5, stride=8)
    assert found.shape == (3 * 5 * 2, 4)
    for row in range(3):
        for column in range(5):
            for anchor in range(2):
                x1, y1, x2, y2 = cell[anchor].tolist()
                shifted = [x1 + 8 * column, y1 + 8 * row, x2 + 8 * column, y2 + 8 * row]
                assert found[(row * 5 + column) * 2 + anchor].tolist() == shifted


def test_empty_map_has_no_anchors():
    assert grid_anchors(cell_anchors([8], [1]), 0, 5, 8).shape == (0, 4)


@pytest.mark.parametrize(
    ("sizes", "ratios"),
    [([], [1]), ([8], []), ([0], [1]), ([8], [-1]), ([8, math.nan], [1]), ([math.inf], [1])],
)
def test_impossible_anchors_are_rejected(sizes, ratios):
    with pytest.raises(ConfigurationError, match="above 0"):
        cell_anchors(sizes, ratios)

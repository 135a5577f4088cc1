import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.errors import TensorError
from lxmert.vision import pooling
from lxmert.vision.pooling import MaxPoolTables, roi_align, roi_max_pool
from tests.vision.box_strategies import golden
from tests.vision.pooling_by_definition import align_by_definition, max_pool_by_definition


@st.composite
def maps_and_boxes(draw):
    """An odd map and boxes that may leave it, be empty or lie wholly outside, edges on quarter cells."""
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 11))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    feature_map = torch.randn(channels, height, width, generator=generator)
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        x1, y1 = draw(st.integers(-12, 4 * width + 12)), draw(st.integers(-12, 4 * height + 12))
        rows.append([x1, y1, x1 + draw(st.integers(0, 4 * width)), y1 + draw(st.integers(0, 4 * height))])
    return feature_map, torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) * 2


SCALE = 1 / 8  # the boxes above are in steps of 2 pixels, a quarter of a cell


@pytest.mark.parametrize("image", [0, 1])
@pytest.mark.parametrize("resolution", [14, 7])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_golden_maxima_are_exact(shared_specs, image, resolution, layout):
    arrays = golden(shared_specs, "roi_pool")
    chosen = arrays["rois"][:, 0] == image
    feature_map = arrays["x"].contiguous(memory_format=layout)[image]
    found = roi_max_pool(feature_map, arrays["rois"][chosen, 1:], scale=1 / 16, resolution=resolution)
    assert torch.equal(found, arrays[f"out{resolution}"][chosen])


def test_bins_of_a_box_computed_by_hand():
    feature_map = torch.arange(12.0).view(1, 3, 4)
    # Cells 0..3 across, 1..2 down: columns {0, 1} and {2, 3}, rows {1} and {2}.
    found = roi_max_pool(feature_map, torch.tensor([[0.0, 16, 48, 32]]), scale=1 / 16, resolution=2)
    assert found.tolist() == [[[[5.0, 7.0], [9.0, 11.0]]]]


def test_halves_are_rounded_away_from_zero():
    feature_map = torch.arange(8.0).view(1, 1, 8)
    # 2.5 -> cell 3 and 4.5 -> cell 5; rounding to even would give cells 2 and 4.
    found = roi_max_pool(
        -feature_map, torch.tensor([[2.5, 0, 2.5, 0], [4.5, 0, 4.5, 0]]), scale=1, resolution=1
    )
    assert found.flatten().tolist() == [-3.0, -5.0]
    # -0.5 -> cell -1, the float32 below a half -> cell 0: the left bin lies outside, the right on cell 0.
    below = roi_max_pool(feature_map + 9, torch.tensor([[-0.5, 0, 0.49999997, 0]]), scale=1, resolution=2)
    assert below[0, 0].tolist() == [[0.0, 9.0], [0.0, 9.0]]


@pytest.mark.parametrize("extent", [57, 114, 121])
def test_float32_bins_reach_one_cell_further_than_exact_ones(extent):
    line = torch.zeros(1, 1, 130)
    line[0, 0, extent] = 1
    found = roi_max_pool(line, torch.tensor([[0.0, 0, extent - 1, 0]]), scale=1, resolution=14)
    assert found[0, 0, 0].tolist() == [0.0] * 13 + [1.0]


@pytest.mark.parametrize("extent", range(1, 128))
def test_bins_of_every_extent_equal_the_definition(extent):
    line = torch.randperm(131, generator=torch.Generator().manual_seed(extent)).float().view(1, 1, 131)
    boxes = torch.tensor([[2.0, 0, extent + 1, 0]])
    expected = max_pool_by_definition(line, boxes, 1, 14)
    assert torch.equal(roi_max_pool(line, boxes, scale=1, resolution=14), expected)


@given(maps_and_boxes(), st.integers(1, 6))
@settings(max_examples=120, deadline=None)
def test_max_pooling_equals_the_definition(case, resolution):
    feature_map, boxes = case
    found = roi_max_pool(feature_map, boxes, scale=SCALE, resolution=resolution)
    assert found.shape == (len(boxes), len(feature_map), resolution, resolution)
    assert torch.equal(found, max_pool_by_definition(feature_map, boxes, SCALE, resolution))


@pytest.mark.parametrize("table_bytes", [0, 3 * 4 * 5 * 23 * 31, 2**26])
@pytest.mark.parametrize("chunk_bytes", [1, 2**20])
def test_memory_limits_do_not_change_the_result(monkeypatch, table_bytes, chunk_bytes):
    monkeypatch.setattr(pooling, "_TABLE_BYTES", table_bytes)
    monkeypatch.setattr(pooling, "_CPU_CHUNK_BYTES", chunk_bytes)
    feature_map = torch.randn(5, 23, 31)
    boxes = torch.tensor([[0.0, 0, 31, 23], [3, 4, 9, 20], [7, 7, 7, 7], [-50, 2, 80, 11], [2, 1, 30, 2]])
    for resolution in (1, 3, 7):
        expected = max_pool_by_definition(feature_map, boxes, 1, resolution)
        assert torch.equal(roi_max_pool(feature_map, boxes, scale=1, resolution=resolution), expected)
        aligned = roi_align(feature_map, boxes, scale=1, resolution=resolution)
        reference = align_by_definition(feature_map, boxes, 1, resolution, 2)
        assert torch.allclose(aligned.double(), reference, atol=1e-5)


def test_tables_stay_within_their_memory_limit(monkeypatch):
    feature_map = torch.randn(64, 50, 67)
    map_bytes = feature_map.numel() * 4
    rows = []
    for limit in (0, 3 * map_bytes, 8 * map_bytes, 100 * map_bytes):
        monkeypatch.setattr(pooling, "_TABLE_BYTES", limit)
        rows.append(MaxPoolTables(feature_map, 14)._rows.numel() * 4 // map_bytes)
    assert rows == [1, 4, 9, 9]  # windows of 1, 2 and 4 cells suffice for 14 bins over 67 cells


def test_max_pool_tables_give_same_result_for_any_split_of_boxes():
    feature_map = torch.randn(6, 13, 17)
    corners = torch.rand(40, 2) * 150
    boxes = torch.cat([corners, corners + torch.rand(40, 2) * 120], dim=1)
    tables = MaxPoolTables(feature_map, 5)
    whole = tables(boxes, SCALE)
    assert torch.equal(torch.cat([tables(part, SCALE) for part in boxes.split(7)]), whole)
    order = torch.randperm(40)
    assert torch.equal(tables(boxes[order], SCALE), whole[order])
    assert torch.equal(tables(boxes * 4, SCALE / 4), whole)


@given(maps_and_boxes(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_max_pooled_values_come_from_map_and_scale_with_it(case, resolution):
    feature_map, boxes = case
    feature_map = feature_map.abs() + 1
    found = roi_max_pool(feature_map, boxes, scale=SCALE, resolution=resolution)
    assert torch.isin(found, torch.cat([feature_map.flatten(), torch.zeros(1)])).all()
    grown = roi_max_pool(feature_map * 2, boxes, scale=SCALE, resolution=resolution)
    assert torch.equal(grown, found * 2)


def test_larger_box_has_no_smaller_maximum():
    feature_map = torch.randn(3, 11, 9)
    inner = roi_max_pool(feature_map, torch.tensor([[3.0, 2, 5, 6]]), scale=1, resolution=1)
    outer = roi_max_pool(feature_map, torch.tensor([[2.0, 1, 7, 9]]), scale=1, resolution=1)
    assert (outer >= inner).all()


def test_box_beyond_map_gives_zeros():
    feature_map = torch.randn(3, 5, 7) - 9
    boxes = torch.tensor([[200.0, 0, 300, 50], [0, 200, 50, 300], [-300, -300, -200, -200]])
    assert not roi_max_pool(feature_map, boxes, scale=1 / 16, resolution=3).any()
    assert not roi_align(feature_map, boxes, scale=1 / 16, resolution=3).any()


def test_box_with_exchanged_corners_pools_cell_of_first_corner():
    feature_map = torch.randn(3, 5, 7)
    found = roi_max_pool(feature_map, torch.tensor([[5.0, 3, 1, 2]]), scale=1, resolution=2)
    assert torch.equal(found, feature_map[:, 3, 5].view(1, 3, 1, 1).expand(1, 3, 2, 2))


def test_half_precision_maps_give_half_precision_maxima():
    feature_map = torch.randn(3, 9, 11).bfloat16()
    boxes = torch.tensor([[3.0, 5, 61, 70], [0, 0, 88, 72]])
    found = roi_max_pool(feature_map, boxes, scale=SCALE, resolution=4)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, max_pool_by_definition(feature_map, boxes, SCALE, 4))
    aligned = roi_align(feature_map, boxes, scale=SCALE, resolution=4)
    assert aligned.dtype == torch.bfloat16
    expected = align_by_definition(feature_map.float(), boxes, SCALE, 4, 2)
    assert torch.allclose(aligned.double(), expected, atol=0.05)


GRADIENT_BOXES = torch.tensor([[3.0, 5, 61, 50], [0, 0, 72, 40], [-30, 9, 20, 90], [40, 40, 40, 40]])


@pytest.mark.parametrize("table_bytes", [0, 2**26])
def test_gradient_of_max_pooling(monkeypatch, table_bytes):
    monkeypatch.setattr(pooling, "_TABLE_BYTES", table_bytes)
    feature_map = torch.randperm(2 * 5 * 9).double().view(2, 5, 9).requires_grad_()  # all values differ

    def pool(values):
        return roi_max_pool(values, GRADIENT_BOXES, scale=SCALE, resolution=3)

    assert torch.autograd.gradcheck(pool, (feature_map,))
    weights = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad((pool(feature_map) * weights).sum(), feature_map)
    by_definition = max_pool_by_definition(feature_map, GRADIENT_BOXES, SCALE, 3)
    (expected,) = torch.autograd.grad((by_definition * weights).sum(), feature_map)
    assert torch.allclose(found, expected)


def test_equal_cells_share_a_gradient_of_one():
    feature_map = torch.zeros(1, 5, 6, requires_grad=True)
    roi_max_pool(feature_map, torch.tensor([[0.0, 0, 4, 4]]), scale=1, resolution=1).sum().backward()
    assert feature_map.grad.sum().item() == pytest.approx(1)
    assert (feature_map.grad >= 0).all()
    assert not feature_map.grad[:, :, 5].any()


@given(maps_and_boxes(), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_roi_align_equals_the_definition(case, resolution, samples):
    feature_map, boxes = case
    found = roi_align(feature_map, boxes, scale=SCALE, resolution=resolution, samples=samples)
    expected = align_by_definition(feature_map, boxes, SCALE, resolution, samples)
    assert found.shape == expected.shape
    assert torch.allclose(found.double(), expected, atol=1e-5)


def test_roi_align_of_linear_ramp_gives_value_at_bin_centres():
    slope = torch.arange(12.0).expand(1, 9, 12)
    found = roi_align(slope, torch.tensor([[16.0, 16, 64, 48]]), scale=SCALE, resolution=3)
    # The box spans 2..8 cells, its bins' middles lie at 3, 5 and 7; cell n has its middle at n + 0.5.
    assert torch.allclose(found[0, 0], torch.tensor([2.5, 4.5, 6.5]).expand(3, 3))


def test_gradient_of_roi_align():
    feature_map = torch.randn(2, 5, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda values: roi_align(values, GRADIENT_BOXES, scale=SCALE, resolution=3), (feature_map,)
    )


def test_roi_align_does_not_depend_on_other_boxes():
    feature_map = torch.randn(6, 13, 17)
    corners = torch.rand(20, 2) * 150
    boxes = torch.cat([corners, corners + torch.rand(20, 2) * 120], dim=1)
    whole = roi_align(feature_map, boxes, scale=SCALE, resolution=5)
    order = torch.randperm(20)
    assert torch.allclose(roi_align(feature_map, boxes[order], scale=SCALE, resolution=5), whole[order])
    assert torch.allclose(roi_align(feature_map, boxes[3:4], scale=SCALE, resolution=5), whole[3:4])


@pytest.mark.parametrize("pool", [roi_max_pool, roi_align])
def test_pooling_of_no_boxes_gives_empty_result(pool):
    feature_map = torch.randn(3, 5, 7, requires_grad=True)
    found = pool(feature_map, torch.empty(0, 4), scale=1, resolution=2)
    assert found.shape == (0, 3, 2, 2)


@pytest.mark.parametrize("pool", [roi_max_pool, roi_align])
@pytest.mark.parametrize(
    ("feature_map", "boxes", "resolution", "words"),
    [
        (torch.zeros(1, 3, 5, 7), torch.zeros(1, 4), 2, r"\(1, 3, 5, 7\)"),
        (torch.zeros(3, 0, 7), torch.zeros(1, 4), 2, "at least one cell"),
        (torch.zeros(3, 5, 7, dtype=torch.int64), torch.zeros(1, 4), 2, "floating point"),
        (torch.zeros(3, 5, 7), torch.zeros(1, 5), 2, r"\(R, 4\)"),
        (torch.zeros(3, 5, 7), torch.tensor([[0, 0, math.nan, 1]]), 2, "not finite"),
        (torch.zeros(3, 5, 7), torch.tensor([[0, 0, math.inf, 1]]), 2, "not finite"),
        (torch.zeros(3, 5, 7), torch.zeros(1, 4), 0, "resolution is 0"),
    ],
)
def test_invalid_pooling_inputs_are_rejected(pool, feature_map, boxes, resolution, words):
    with pytest.raises(TensorError, match=words):
        pool(feature_map, boxes, scale=1, resolution=resolution)


def test_roi_align_rejects_zero_samples():
    with pytest.raises(TensorError, match="samples is 0"):
        roi_align(torch.zeros(1, 2, 2), torch.zeros(1, 4), scale=1, resolution=1, samples=0)

import math
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.errors import RegionsError
from lxmert.vision import geometry

SIZE_HW = (37, 53)


@st.composite
def boxes_inside(draw):
    """Boxes on a lattice of eighths, so that areas are exact in float32, inside an image of SIZE_HW."""
    height, width = SIZE_HW
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        x1 = draw(st.integers(0, width * 8 - 1))
        y1 = draw(st.integers(0, height * 8 - 1))
        x2 = draw(st.integers(x1 + 1, width * 8))
        y2 = draw(st.integers(y1 + 1, height * 8))
        rows.append([x1 / 8, y1 / 8, x2 / 8, y2 / 8])
    return torch.tensor(rows)


def shared_area_by_counting(first, second):
    """Counts the cells of the lattice that lie in both boxes."""
    columns = set(range(round(first[0] * 8), round(first[2] * 8)))
    columns &= set(range(round(second[0] * 8), round(second[2] * 8)))
    rows = set(range(round(first[1] * 8), round(first[3] * 8)))
    rows &= set(range(round(second[1] * 8), round(second[3] * 8)))
    return len(columns) * len(rows) / 64


def test_area_of_boxes_computed_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 3.0], [1.5, 2.0, 2.0, 6.0], [5.0, 5.0, 1.0, 9.0]])
    assert geometry.area(boxes).tolist() == [12.0, 2.0, 0.0]


def test_iou_of_boxes_computed_by_hand():
    first = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 1.0, 1.0]])
    second = torch.tensor([[2.0, 2.0, 6.0, 6.0], [0.0, 0.0, 4.0, 2.0], [8.0, 8.0, 9.0, 9.0]])
    expected = torch.tensor([[4 / 28, 0.5, 0.0], [0.0, 1 / 8, 0.0]])
    assert torch.allclose(geometry.iou(first, second), expected)


def test_iou_of_two_empty_boxes_is_zero_not_nan():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert geometry.iou(point, point).item() == 0.0


@given(boxes_inside(), boxes_inside())
@settings(max_examples=60, deadline=None)
def test_intersection_equals_the_count_of_shared_cells(first, second):
    found = geometry.intersection(first, second)
    assert found.shape == (len(first), len(second))
    for row, one in enumerate(first.tolist()):
        for column, other in enumerate(second.tolist()):
            assert math.isclose(found[row, column].item(), shared_area_by_counting(one, other), abs_tol=1e-3)


@given(boxes_inside(), boxes_inside())
@settings(max_examples=60, deadline=None)
def test_iou_is_symmetric_bounded_and_one_with_itself(first, second):
    found = geometry.iou(first, second)
    assert torch.allclose(found, geometry.iou(second, first).T)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.allclose(geometry.iou(first, first).diagonal(), torch.ones(len(first)))


@given(boxes_inside(), st.floats(0.25, 8), st.floats(-20, 20))
@settings(max_examples=60, deadline=None)
def test_iou_is_unchanged_by_moving_and_scaling_both(boxes, scale, shift):
    moved = boxes * scale + shift
    assert torch.allclose(geometry.iou(moved, moved), geometry.iou(boxes, boxes), atol=1e-3)


@given(boxes_inside(), st.floats(-30, 30), st.floats(-30, 30))
def test_clipped_boxes_lie_inside_and_clipping_twice_changes_nothing(boxes, right, down):
    moved = boxes + torch.tensor([right, down, right, down])
    clipped = geometry.clip(moved, SIZE_HW)
    assert (clipped >= 0).all()
    assert (clipped[:, [0, 2]] <= SIZE_HW[1]).all()
    assert (clipped[:, [1, 3]] <= SIZE_HW[0]).all()
    assert torch.equal(geometry.clip(clipped, SIZE_HW), clipped)
    inside = geometry.area(geometry.clip(boxes, SIZE_HW))
    assert torch.equal(inside, geometry.area(boxes))


@pytest.mark.parametrize(
    ("box", "filled"),
    [
        ([5, 5, 5, 9], [4.5, 5, 5.5, 9]),
        ([2, 9.75, 6, 10], [2, 9, 6, 10]),
        ([30, -4, 40, -1], [19, 0, 20, 1]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
    ],
)
def test_narrow_box_is_widened_about_its_centre_inside_image(box, filled):
    assert geometry.clip_non_empty(torch.tensor([box]), (10, 20)).tolist() == [filled]


def test_cxcywh_to_xyxy_by_hand():
    assert geometry.cxcywh_to_xyxy(torch.tensor([[5.0, 6.0, 4.0, 2.0]])).tolist() == [[3, 5, 7, 7]]


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.lists(st.tuples(*[st.floats(-80, 140, width=32)] * 4), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_clip_non_empty_boxes_are_at_least_one_pixel_wide_and_inside_image(height, width, rows):
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    found = geometry.clip_non_empty(boxes, (height, width))
    limits = torch.tensor([width, height, width, height])
    assert ((found >= 0) & (found <= limits)).all()
    assert (found[:, 2:] - found[:, :2] >= 1 - 1e-4).all()
    clipped = torch.minimum(boxes.clamp(min=0), limits)
    wide = ((clipped[:, 2:] - clipped[:, :2]) >= 1).all(dim=1)
    assert torch.equal(found[wide], clipped[wide])


def test_given_boxes_that_are_fractions_of_the_image_are_rejected():
    fractions = [[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]]
    with pytest.raises(RegionsError, match=r"fractions .* multiply x by 53 and y by 37") as caught:
        geometry.validate_given_boxes(fractions, SIZE_HW)
    assert "box 0 is (0.1, 0.2, 0.5, 0.6)" in str(caught.value)
    for boxes, size_hw in (([*fractions, [0, 0, 1, 2]], SIZE_HW), (fractions, (2, 53)), ([], SIZE_HW)):
        assert torch.equal(
            geometry.validate_given_boxes(boxes, size_hw), geometry.validate_boxes(boxes, size_hw)
        )


@given(boxes_inside())
def test_validate_boxes_keeps_boxes_inside_image_unchanged(boxes):
    before = boxes.clone()
    assert torch.equal(geometry.validate_boxes(boxes, SIZE_HW), before)
    assert torch.equal(boxes, before)


def test_overshoot_below_one_pixel_is_clamped_without_changing_input():
    boxes = torch.tensor([[-0.9, -0.5, 53.7, 38.0]])
    assert geometry.validate_boxes(boxes, SIZE_HW).tolist() == [[0.0, 0.0, 53.0, 37.0]]
    assert boxes[0, 0].item() == pytest.approx(-0.9)


@pytest.mark.parametrize(
    ("box", "edge", "distance"),
    [
        ([-7.5, 1, 9, 9], "left", "7.5"),
        ([1, -3, 9, 9], "top", "3"),
        ([-1.25, 1, 9, 9], "left", "1.25"),
        ([1, 1, 60, 9], "right", "7"),
        ([1, 1, 9, 40], "bottom", "3"),
    ],
)
def test_box_outside_image_is_rejected_with_its_distance(box, edge, distance):
    good = [1.0, 1.0, 5.0, 5.0]
    with pytest.raises(RegionsError) as caught:
        geometry.validate_boxes(torch.tensor([good, box, box]), SIZE_HW)
    message = str(caught.value)
    assert "box 1 " in message
    assert f"{distance} px beyond the {edge} edge" in message
    assert "53 px wide and 37 px high" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([9.0, 1.0, 5.0, 5.0], "x2 = 5 is not greater than x1 = 9"),
        ([1.0, 8.0, 5.0, 8.0], "y2 = 8 is not greater than y1 = 8"),
        ([1.0, float("nan"), 5.0, 8.0], "finite"),
        ([1.0, 2.0, float("inf"), 8.0], "finite"),
        ([53.2, 1.0, 53.8, 9.0], "inside the image"),
    ],
)
def test_malformed_box_is_rejected_with_its_row(box, words):
    with pytest.raises(RegionsError, match="box 2 ") as caught:
        geometry.validate_boxes([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 53.0, 37.0], box], SIZE_HW)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "boxes", [torch.zeros(4), torch.zeros(2, 5), "no", [[1, 2, 3]], torch.ones(1, 4) > 0]
)
def test_boxes_of_wrong_shape_or_type_are_rejected(boxes):
    with pytest.raises(RegionsError):
        geometry.validate_boxes(boxes, SIZE_HW)


def test_validate_boxes_accepts_no_boxes():
    assert geometry.validate_boxes([], SIZE_HW).shape == (0, 4)


@pytest.mark.parametrize(
    "boxes",
    [
        torch.tensor([[0, 0, 3, 4]]),
        np.array([[0, 0, 3, 4]]),
        [[0, 0, 3, 4]],
        [[[0, 0, 3, 4]]],
        [np.array([[0, 0, 3, 4]])],
        torch.tensor([[[0, 0, 3, 4]]]),
        list(np.array([[0, 0, 3, 4]])),
        list(np.array([[0, 0, 3, 4]], np.float16)),
        [list(np.array([0, 0, 3, 4]))],
        ((np.int64(0), np.float32(0), 3, 4.0),),
        list(torch.tensor([[0, 0, 3, 4]])),
        [list(torch.tensor([0, 0, 3, 4]))],
        deque([[0, 0, 3, 4]]),
        deque([torch.tensor([[0, 0, 3, 4]])]),
        (torch.tensor([0, 0, 3, 4]),),
    ],
)
def test_as_boxes_list_accepts_boxes_of_one_image_bare_or_in_a_list(boxes):
    (found,) = geometry.as_boxes_list(boxes, 1)
    assert torch.equal(found, torch.tensor([[0.0, 0.0, 3.0, 4.0]]))


@pytest.mark.parametrize("rows", [list, lambda boxes: [tuple(row) for row in boxes]])
@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.float32, "tensor"])
def test_as_boxes_list_accepts_rows_of_any_type_for_one_or_several_images(rows, kind):
    numbers = np.array([[0, 0, 3, 4], [1, 2, 5, 7], [2, 2, 3, 3]])
    boxes = torch.tensor(numbers) if kind == "tensor" else numbers.astype(kind)
    (found,) = geometry.as_boxes_list(rows(boxes), 1)
    assert found.dtype == torch.float32
    assert found.tolist() == numbers.tolist()
    found = geometry.as_boxes_list([rows(boxes), rows(boxes[:1]), []], 3)
    assert [one.tolist() for one in found] == [numbers.tolist(), numbers[:1].tolist(), []]


@pytest.mark.parametrize("nothing", [[], (), [[]], torch.zeros(0), torch.zeros(0, 4), np.zeros((1, 0, 4))])
def test_as_boxes_list_takes_empty_input_as_empty_boxes_of_one_image(nothing):
    assert [one.shape for one in geometry.as_boxes_list(nothing, 1)] == [(0, 4)]


@pytest.mark.parametrize(
    ("boxes", "images", "words"),
    [
        ([], 2, "0 sets of boxes for 2 images"),
        ([[], []], 1, "2 sets of boxes for 1 images"),
        (np.zeros((2, 4)), 2, "1 sets of boxes for 2 images"),
        ([0, 0, 3, 4], 1, r"shape \(4,\); expected \(N, 4\)"),
        ("abcd", 1, "cannot be read as numbers"),
        (7, 1, "shape"),
        ((row for row in [[0, 0, 3, 4]]), 1, "cannot be read as numbers"),
        ([[[0, 0, 3, 4]], None], 2, "cannot be read as numbers"),
        ([torch.zeros(4), torch.zeros(3)], 1, "cannot be read as numbers"),
    ],
)
def test_as_boxes_list_rejects_wrong_counts_and_unreadable_boxes(boxes, images, words):
    with pytest.raises(RegionsError, match=words) as caught:
        geometry.as_boxes_list(boxes, images)
    assert "\n" not in str(caught.value)


def test_as_boxes_list_requires_one_set_of_boxes_per_image():
    with pytest.raises(RegionsError, match="1 sets of boxes for 2 images"):
        geometry.as_boxes_list([[[0, 0, 3, 4]]], 2)
    assert [len(one) for one in geometry.as_boxes_list([[], [[0, 0, 3, 4]], np.zeros((0, 4))], 3)] == [
        0,
        1,
        0,
    ]

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.errors import TensorError
from lxmert.vision import nms as nms_module
from lxmert.vision.nms import nms, overlaps_above
from tests.vision.box_strategies import golden, scored_boxes

THRESHOLDS = st.sampled_from([0.0, 0.25, 0.3, 1 / 3, 0.5, 0.6, 0.7, 2 / 3, 1.0])


def overlap_float32(first, second):
    """Overlap of two boxes, each step rounded to float32; the definition, one pair at a time."""
    one, other = np.asarray(first, np.float32), np.asarray(second, np.float32)
    width = max(np.float32(0), min(one[2], other[2]) - max(one[0], other[0]))
    height = max(np.float32(0), min(one[3], other[3]) - max(one[1], other[1]))
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    with np.errstate(invalid="ignore"):
        return float(shared / (areas[0] + areas[1] - shared))


def nms_by_definition(boxes, scores, threshold):
    """Takes the best box left and strikes out what overlaps it, until none is left."""
    boxes, scores = boxes.tolist(), scores.tolist()
    left = sorted(range(len(boxes)), key=lambda index: -scores[index])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [other for other in left if not overlap_float32(boxes[best], boxes[other]) > threshold]
    return kept


def random_boxes(count, seed, spread=60.0, size=30.0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * spread
    sides = torch.rand(count, 2, generator=generator) * size
    return torch.cat([corners, corners + sides], dim=1), torch.rand(count, generator=generator)


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7])
def test_nms_equals_golden_indices(shared_specs, case, threshold):
    arrays = golden(shared_specs, "nms")
    kept = nms(arrays[f"boxes_{case}"], arrays[f"scores_{case}"], threshold)
    assert kept.dtype == torch.int64
    assert torch.equal(kept, arrays[f"keep_{case}_{threshold}"])


def test_nms_of_boxes_computed_by_hand():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 0, 14, 4], [0, 0, 4, 3], [1, 0, 5, 4]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.6])
    # Box 2 overlaps box 0 by 12/16 and box 3 by 9/19.
    assert nms(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert nms(boxes, scores, 0.4).tolist() == [1, 2]
    assert nms(boxes, scores, 0.8).tolist() == [1, 2, 3, 0]


def test_suppressed_box_suppresses_no_other_box():
    boxes = torch.tensor([[0.0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]])  # neighbours overlap by 6/14
    assert nms(boxes, torch.tensor([3.0, 2.0, 1.0]), 0.4).tolist() == [0, 2]


@given(scored_boxes(), THRESHOLDS)
@settings(max_examples=150, deadline=None)
def test_nms_equals_the_definition(scored, threshold):
    assert nms(*scored, threshold).tolist() == nms_by_definition(*scored, threshold)


@pytest.mark.parametrize(("count", "threshold"), [(129, 0.3), (300, 0.5), (517, 0.7)])
@pytest.mark.parametrize("block", [7, 128])
def test_nms_equals_the_definition_across_blocks(monkeypatch, count, threshold, block):
    monkeypatch.setattr(nms_module, "_CPU_BLOCK", block)
    boxes, scores = random_boxes(count, seed=count)
    scores[::3] = 0.5
    expected = nms_by_definition(boxes, scores, threshold)
    assert 1 < len(expected) < count
    assert nms(boxes, scores, threshold).tolist() == expected


@given(scored_boxes(at_most=30), THRESHOLDS)
@settings(max_examples=80, deadline=None)
def test_kept_boxes_are_apart_and_each_dropped_one_has_a_better_neighbour(scored, threshold):
    boxes, scores = scored
    kept = nms(boxes, scores, threshold).tolist()
    assert len(set(kept)) == len(kept)
    for index in range(len(boxes)):
        rivals = [
            one for one in kept if overlap_float32(boxes[one], boxes[index]) > threshold and one != index
        ]
        if index in kept:
            assert not rivals
        else:
            assert any((-scores[one], one) < (-scores[index], index) for one in rivals)


@given(st.integers(0, 2**31), st.integers(0, 60), THRESHOLDS)
@settings(max_examples=40, deadline=None)
def test_result_does_not_depend_on_box_order(seed, count, threshold):
    boxes, scores = random_boxes(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(order[nms(boxes[order], scores[order], threshold)], nms(boxes, scores, threshold))


@given(st.integers(0, 2**31), st.integers(-6, 6), THRESHOLDS)
@settings(max_examples=40, deadline=None)
def test_scaling_all_boxes_does_not_change_kept_indices(seed, exponent, threshold):
    boxes, scores = random_boxes(50, seed)
    assert torch.equal(nms(boxes * 2.0**exponent, scores, threshold), nms(boxes, scores, threshold))


@given(scored_boxes(at_most=30), THRESHOLDS, st.integers(0, 35))
@settings(max_examples=60, deadline=None)
def test_limit_gives_prefix_of_full_result(scored, threshold, limit):
    assert torch.equal(nms(*scored, threshold, limit=limit), nms(*scored, threshold)[:limit])


def test_limit_reached_in_later_block_keeps_best_boxes():
    boxes = torch.arange(300.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    scores = torch.arange(300.0)
    assert nms(boxes, scores, 0.5, limit=150).tolist() == list(range(299, 149, -1))


def test_nms_of_no_boxes_gives_no_indices():
    kept = nms(torch.empty(0, 4), torch.empty(0), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def test_one_box_is_kept_even_without_area():
    assert nms(torch.tensor([[3.0, 3, 3, 3]]), torch.tensor([-1.0]), 0.0).tolist() == [0]


def test_equal_scores_rank_in_the_order_given_across_blocks():
    apart = torch.arange(400.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    assert nms(apart, torch.zeros(400), 0.5).tolist() == list(range(400))
    same = torch.tensor([[1.0, 1, 9, 9]]).repeat(400, 1)
    assert nms(same, torch.zeros(400), 0.5).tolist() == [0]


def test_boxes_without_area_remove_nothing_and_are_not_removed():
    point, line = [2.0, 2, 2, 2], [0.0, 2, 9, 2]
    boxes = torch.tensor([point, point, line, line, [0, 0, 9, 9]])
    assert nms(boxes, torch.arange(5.0), 0.0).tolist() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("side", "shift", "threshold", "kept"),
    [
        (4, 1, 0.6, [0]),  # 3/5 as float32 is 0.60000002, above 0.6
        (17, 3, 0.7, [0, 1]),  # 14/20 as float32 is 0.69999999, not above 0.7
        (3, 1, 0.5, [0, 1]),  # 2/4 is exact, and not above itself
    ],
)
def test_float32_overlap_is_compared_in_float64(side, shift, threshold, kept):
    boxes = torch.tensor([[0.0, 0, side, 1], [shift, 0, side + shift, 1]])
    assert nms(boxes, torch.tensor([1.0, 0.0]), threshold).tolist() == kept
    assert overlaps_above(boxes, threshold)[0, 1].item() == (kept == [0])


def test_other_dtypes_and_gradients_are_accepted_and_inputs_not_modified():
    boxes, scores = random_boxes(40, seed=3)
    before = boxes.clone()
    expected = nms(boxes, scores, 0.3)
    assert torch.equal(boxes, before)
    assert torch.equal(nms(boxes.double(), scores.double().requires_grad_(), 0.3), expected)


@pytest.mark.parametrize(
    ("boxes", "scores", "words"),
    [
        (torch.zeros(3, 5), torch.zeros(3), r"\(3, 5\)"),
        (torch.zeros(4), torch.zeros(4), r"\(N, 4\)"),
        (torch.zeros(3, 4), torch.zeros(2), "3 boxes"),
        (torch.zeros(3, 4), torch.zeros(3, 1), "3 boxes"),
    ],
)
def test_wrong_shapes_are_rejected(boxes, scores, words):
    with pytest.raises(TensorError, match=words):
        nms(boxes, scores, 0.5)

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.errors import TensorError
from lxmert.vision.faster_rcnn.box_coding import encode_boxes
from lxmert.vision.faster_rcnn.proposals import ProposalSettings, filter_proposals, select_proposals
from tests.vision.box_strategies import golden, scored_boxes
from tests.vision.test_nms import nms_by_definition

SIZE_HW = (40, 56)


def proposal_settings(
    before_nms=6000, after_nms=300, nms_threshold=0.7, min_size_px=0.0, delta_weights=(1.0, 1.0, 1.0, 1.0)
):
    return ProposalSettings(before_nms, after_nms, nms_threshold, min_size_px, delta_weights)


def select_by_definition(logits, boxes, size_hw, options):
    """Sort, cut, clip, drop, suppress, cut; on lists, with every box decoded beforehand."""
    order = sorted(range(len(boxes)), key=lambda index: -logits[index].item())[: options.before_nms]
    left = []
    for index in order:
        x1, y1, x2, y2 = boxes[index].tolist()
        x1, x2 = (min(max(x, 0), size_hw[1]) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), size_hw[0]) for y in (y1, y2))
        if x2 - x1 > options.min_size_px and y2 - y1 > options.min_size_px:
            left.append(([x1, y1, x2, y2], logits[index].item()))
    found = torch.tensor([box for box, _ in left]).reshape(-1, 4)
    scores = torch.tensor([score for _, score in left])
    kept = nms_by_definition(found, scores, options.nms_threshold)[: options.after_nms]
    return found[kept], scores[kept]


@pytest.mark.parametrize("image", [0, 1])
def test_proposals_equal_golden_proposals(shared_specs, image):
    arrays = golden(shared_specs, "rpn_select")
    options = proposal_settings(int(arrays["pre"]), int(arrays["post"]), float(arrays["thr"]))
    boxes, logits = arrays["boxes"][image], arrays["logits"][image]
    size_hw = tuple(arrays["sizes"][image].tolist())
    expected, scores = arrays[f"boxes_out_{image}"], arrays[f"scores_out_{image}"]

    best = logits.argsort(descending=True)[: options.before_nms]
    exact = filter_proposals(boxes[best], logits[best], size_hw, options)
    assert torch.equal(exact[0], expected)
    assert torch.equal(exact[1], scores)
    decoded = select_proposals(logits, torch.zeros(len(boxes), 4), boxes, size_hw, options)
    assert torch.allclose(decoded[0], expected, atol=1e-4)
    assert torch.equal(decoded[1], scores)


@given(
    scored_boxes(at_most=20, side=9),
    st.integers(1, 20),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.3, 0.7]),
    st.sampled_from([0.0, 1.0, 2.5]),
)
@settings(max_examples=120, deadline=None)
def test_select_proposals_equals_the_definition(scored, before, after, threshold, min_size):
    boxes, logits = scored
    options = proposal_settings(before, after, threshold, min_size)
    size_hw = (5, 7)  # smaller than the lattice: clipping leaves boxes without area
    found = select_proposals(logits, torch.zeros(len(boxes), 4), boxes, size_hw, options)
    expected = select_by_definition(logits, boxes, size_hw, options)
    assert torch.equal(found[0], expected[0].reshape(-1, 4))
    assert torch.equal(found[1], expected[1])


def test_deltas_are_applied_with_their_weights():
    anchors = torch.tensor([[0.0, 0, 8, 8], [16, 16, 32, 24], [8, 0, 24, 30]])
    wanted = torch.tensor([[2.0, 1, 9, 8], [20, 12, 44, 30], [1, 1, 5, 38]])
    weights = (4.0, 3.0, 2.0, 1.0)
    deltas = encode_boxes(wanted, anchors, weights)
    options = proposal_settings(delta_weights=weights)
    boxes, logits = select_proposals(torch.tensor([0.1, 0.9, 0.5]), deltas, anchors, SIZE_HW, options)
    assert torch.allclose(boxes, wanted[[1, 2, 0]], atol=1e-4)
    assert logits.tolist() == pytest.approx([0.9, 0.5, 0.1])


def test_boxes_are_clipped_to_height_and_width_not_one_less():
    anchors = torch.tensor([[-9.0, -9, 70, 70], [50, 2, 90, 4], [60, 2, 90, 4]])
    boxes, _ = select_proposals(torch.zeros(3), torch.zeros(3, 4), anchors, SIZE_HW, proposal_settings())
    assert boxes.tolist() == [[0.0, 0.0, 56.0, 40.0], [50.0, 2.0, 56.0, 4.0]]  # the third lies outside


@given(st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_proposals_do_not_depend_on_anchor_order(seed):
    generator = torch.Generator().manual_seed(seed)
    anchors = torch.rand(60, 4, generator=generator) * 20
    anchors[:, 2:] += anchors[:, :2] + 1
    deltas, logits = torch.randn(60, 4, generator=generator), torch.randn(60, generator=generator)
    order = torch.randperm(60, generator=generator)
    options = proposal_settings(before_nms=40, after_nms=10, nms_threshold=0.4)
    straight = select_proposals(logits, deltas, anchors, SIZE_HW, options)
    shuffled = select_proposals(logits[order], deltas[order], anchors[order], SIZE_HW, options)
    assert torch.equal(straight[0], shuffled[0])
    assert torch.equal(straight[1], shuffled[1])


def test_no_anchors_and_only_empty_boxes_give_no_proposals():
    for anchors in (torch.empty(0, 4), torch.tensor([[3.0, 3, 3, 9], [4, 4, 9, 4]])):
        count = len(anchors)
        boxes, logits = select_proposals(
            torch.zeros(count), torch.zeros(count, 4), anchors, SIZE_HW, proposal_settings()
        )
        assert boxes.shape == (0, 4)
        assert logits.shape == (0,)


def test_bfloat16_inputs_give_float32_proposals_without_gradient():
    anchors = torch.tensor([[0.0, 0, 8, 8], [16, 16, 33, 25]])
    deltas = torch.zeros(2, 4, dtype=torch.bfloat16, requires_grad=True)
    logits = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    boxes, scores = select_proposals(logits, deltas, anchors, SIZE_HW, proposal_settings())
    assert torch.equal(boxes, anchors[[1, 0]])
    assert (boxes.dtype, scores.dtype) == (torch.float32, torch.float32)
    assert not boxes.requires_grad
    assert not scores.requires_grad


@pytest.mark.parametrize("place", ["deltas", "logits"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_logits_or_deltas_are_rejected(place, value):
    tensors = {"logits": torch.zeros(3), "deltas": torch.zeros(3, 4)}
    tensors[place].view(3, -1)[1, 0] = value
    anchors = torch.tensor([[0.0, 0, 8, 8]]).repeat(3, 1)
    with pytest.raises(TensorError, match=r"1 of 3 proposals .* not finite"):
        select_proposals(**tensors, anchors_xyxy=anchors, size_hw=SIZE_HW, settings=proposal_settings())


@pytest.mark.parametrize(
    "shapes",
    [((2,), (3, 4), (3, 4)), ((3,), (3, 5), (3, 4)), ((3,), (3, 4), (3, 5)), ((3, 1), (3, 4), (3, 4))],
)
def test_mismatched_input_shapes_are_rejected(shapes):
    logits, deltas, anchors = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(TensorError, match="do not belong together"):
        select_proposals(logits, deltas, anchors, SIZE_HW, proposal_settings())

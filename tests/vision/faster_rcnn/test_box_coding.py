import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.vision.faster_rcnn.box_coding import decode_boxes, deltas_of_class, encode_boxes
from tests.vision.box_strategies import golden, lattice_boxes


def decode_by_definition(delta, box, weights):
    """One box in Python's doubles."""
    dx, dy, dw, dh = (value / weight for value, weight in zip(delta, weights, strict=True))
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2 + dx * width, (box[1] + box[3]) / 2 + dy * height
    new_width = min(math.exp(min(dw, 5)), 62.5) * width
    new_height = min(math.exp(min(dh, 5)), 62.5) * height
    return [x - new_width / 2, y - new_height / 2, x + new_width / 2, y + new_height / 2]


# The golden boxes of the head were made from five times the corrections in the file.
@pytest.mark.parametrize(
    ("name", "weights", "factor"), [("rpn", (1, 1, 1, 1), 1), ("head", (10, 10, 5, 5), 5)]
)
def test_decoded_boxes_equal_golden_boxes_up_to_last_bit(shared_specs, name, weights, factor):
    arrays = golden(shared_specs, "box_decode")
    deltas = (arrays["deltas"] * factor).view(64, 2, 4)
    found = decode_boxes(deltas, arrays["boxes"][:, None], weights)
    # The last bit of an exponential is the processor's.
    torch.testing.assert_close(found.view(64, 8), arrays[f"out_{name}"], rtol=5e-7, atol=5e-7)


def test_decoding_and_encoding_of_a_box_computed_by_hand():
    box = torch.tensor([[10.0, 20, 30, 60]])  # middle (20, 40), 20 wide, 40 high
    delta = torch.tensor([[1.0, -2.5, 5 * math.log(2), 0]])
    found = decode_boxes(delta, box, (10, 10, 5, 5))
    assert torch.allclose(found, torch.tensor([[2.0, 10, 42, 50]]))  # middle (22, 30), 40 wide, 40 high
    assert torch.allclose(encode_boxes(found, box, (10, 10, 5, 5)), delta, atol=1e-5)


@given(lattice_boxes(at_most=6), st.integers(0, 2**31), st.sampled_from([(1, 1, 1, 1), (10, 9, 5, 4)]))
@settings(max_examples=60, deadline=None)
def test_decoding_equals_the_definition(boxes, seed, weights):
    deltas = torch.randn(len(boxes), 4, generator=torch.Generator().manual_seed(seed)) * 12
    found = decode_boxes(deltas, boxes, weights)
    rows = zip(deltas.tolist(), boxes.tolist(), strict=True)
    expected = torch.tensor([decode_by_definition(delta, box, weights) for delta, box in rows])
    assert torch.allclose(found, expected.reshape(-1, 4), rtol=1e-4, atol=1e-3)


@given(lattice_boxes(degenerate=False), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_encoding_undoes_decoding(boxes, seed):
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    targets, weights = boxes[order], (10.0, 9.0, 5.0, 4.0)
    deltas = encode_boxes(targets, boxes, weights)
    assert torch.allclose(decode_boxes(deltas, boxes, weights), targets, atol=1e-4)
    assert not encode_boxes(boxes, boxes, weights).any()


def test_decoded_sides_grow_at_most_62_5_fold_but_may_shrink_to_zero():
    boxes = torch.tensor([[0.0, 0, 2, 4], [0, 0, 2, 4]])
    found = decode_boxes(torch.tensor([[0, 0, 1e4, 50.0], [0, 0, -1e4, 0]]), boxes, (1, 1, 1, 1))
    sides = found[:, 2:] - found[:, :2]
    assert torch.allclose(sides, torch.tensor([[125.0, 250.0], [0, 4]]))


def test_leading_dimensions_broadcast():
    deltas, boxes = torch.randn(3, 5, 4), torch.tensor([[0.0, 0, 8, 6], [1, 1, 3, 9], [2, 0, 4, 4]])
    found = decode_boxes(deltas, boxes[:, None], (1, 1, 1, 1))
    assert found.shape == (3, 5, 4)
    assert torch.equal(found[1, 4], decode_boxes(deltas[1, 4], boxes[1], (1, 1, 1, 1)))
    assert decode_boxes(torch.empty(0, 4), torch.empty(0, 4), (1, 1, 1, 1)).shape == (0, 4)
    assert encode_boxes(torch.empty(0, 4), torch.empty(0, 4), (1, 1, 1, 1)).shape == (0, 4)


def test_gradients_reach_the_deltas():
    deltas = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.0, 0, 8, 6], [1, 1, 3, 9], [2, 0, 4, 4]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda values: decode_boxes(values, boxes, (2, 2, 1, 1)), (deltas,))


def test_each_roi_has_the_four_deltas_of_its_class():
    deltas = torch.arange(24.0).reshape(2, 12)
    chosen = deltas_of_class(deltas, torch.tensor([2, 0]))
    assert chosen.tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]
    assert deltas_of_class(deltas[:0], torch.tensor([], dtype=torch.int64)).shape == (0, 4)

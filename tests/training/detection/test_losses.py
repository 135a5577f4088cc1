"""The losses against hand computation."""

import math

import pytest
import torch

from lxmert.training.detection.losses import (
    NO_ATTRIBUTE,
    attribute_loss,
    box_loss,
    class_loss,
    objectness_loss,
)


def test_box_loss_is_quadratic_for_small_and_linear_for_large_errors() -> None:
    deltas = torch.tensor([[0.5, -2.0, 0.0, 1.0]])
    wanted = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    # beta 1: 0.5 · 0.5² + (3 - 0.5), over four sampled candidates.
    assert box_loss(deltas, wanted, 1.0, 4).item() == pytest.approx((0.125 + 2.5) / 4)
    # beta 1/9: both linear: 0.5 - 1/18 and 3 - 1/18.
    assert box_loss(deltas, wanted, 1 / 9, 1).item() == pytest.approx(3.5 - 1 / 9)


def test_box_loss_of_no_boxes_is_zero_and_differentiable() -> None:
    deltas = torch.zeros(0, 4, requires_grad=True)
    loss = box_loss(deltas, torch.zeros(0, 4), 1.0, 0)
    loss.backward()
    assert loss.item() == 0


def test_objectness_loss_is_binary_cross_entropy_over_sampled_anchors() -> None:
    positive, negative = torch.tensor([0.0, math.log(3)]), torch.tensor([math.log(3)])
    # Probabilities 1/2 and 3/4 of an object where there is one, 3/4 where there is none.
    expected = -(math.log(1 / 2) + math.log(3 / 4) + math.log(1 / 4)) / 3
    assert objectness_loss(positive, negative).item() == pytest.approx(expected)
    assert objectness_loss(positive[:0], negative[:0]).item() == 0


def test_class_loss_is_the_mean_over_rois_background_included() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]]))
    expected = -(math.log(0.5) + math.log(0.8) + math.log(0.2)) / 3
    assert class_loss(logits, torch.tensor([0, 2, 0])).item() == pytest.approx(expected)


def test_attribute_loss_is_the_mean_over_boxes_that_have_one() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]]))
    some = attribute_loss(logits, torch.tensor([0, NO_ATTRIBUTE, 1]))
    assert some.item() == pytest.approx(-(math.log(0.5) + math.log(0.7)) / 2)
    for none in (
        attribute_loss(logits, torch.tensor([NO_ATTRIBUTE] * 3)),
        attribute_loss(logits[:0], torch.tensor([], dtype=torch.int64)),
    ):
        assert none.item() == 0

"""Initialisation of the detector's weights."""

import pytest
import torch

from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnConfig


@pytest.fixture(scope="module")
def initial_weights() -> dict[str, torch.Tensor]:
    """Weights of an untrained detector whose layers are wide enough to measure their standard deviation."""
    torch.manual_seed(0)
    return dict(FasterRcnn(FasterRcnnConfig(stage_blocks=(1, 1, 1, 1))).named_parameters())


@pytest.mark.parametrize(
    ("layer", "std"),
    [
        ("proposal_generator.rpn_head.conv", 0.01),
        ("proposal_generator.rpn_head.objectness_logits", 0.01),
        ("proposal_generator.rpn_head.anchor_deltas", 0.01),
        ("roi_heads.box_predictor.cls_score", 0.01),
        ("roi_heads.box_predictor.bbox_pred", 0.001),
    ],
)
def test_head_weights_are_initialised_near_zero(
    initial_weights: dict[str, torch.Tensor], layer: str, std: float
) -> None:
    """Ren et al. 2015, section 3.1.3; Girshick 2015, section 2.3."""
    assert initial_weights[f"{layer}.weight"].std().item() == pytest.approx(std, rel=0.05)
    assert abs(initial_weights[f"{layer}.weight"].mean().item()) < 0.1 * std
    assert (initial_weights[f"{layer}.bias"] == 0).all()


def test_convolutions_are_initialised_with_he_fan_out_variance(
    initial_weights: dict[str, torch.Tensor],
) -> None:
    """He et al. 2015, equation 14: a variance of two by the outputs that an input has a part in."""
    weight = initial_weights["backbone.stem.conv1.weight"]  # (outputs, inputs, 7, 7)
    assert weight.var().item() == pytest.approx(2 / (weight.shape[0] * 7 * 7), rel=0.05)

"""The detector's new weights."""

import pytest
import torch

from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnConfig


@pytest.fixture(scope="module")
def new() -> dict[str, torch.Tensor]:
    """Weights of a detector that nobody trained; its layers are wide enough for their spread to show."""
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
def test_new_heads_begin_near_zero(new: dict[str, torch.Tensor], layer: str, std: float) -> None:
    """Ren et al. 2015, section 3.1.3; Girshick 2015, section 2.3."""
    assert new[f"{layer}.weight"].std().item() == pytest.approx(std, rel=0.05)
    assert abs(new[f"{layer}.weight"].mean().item()) < 0.1 * std
    assert (new[f"{layer}.bias"] == 0).all()


def test_new_convolutions_keep_the_size_of_gradients(new: dict[str, torch.Tensor]) -> None:
    """He et al. 2015, equation 14: a variance of two by the outputs that an input has a part in."""
    weight = new["backbone.stem.conv1.weight"]  # (outputs, inputs, 7, 7)
    assert weight.var().item() == pytest.approx(2 / (weight.shape[0] * 7 * 7), rel=0.05)

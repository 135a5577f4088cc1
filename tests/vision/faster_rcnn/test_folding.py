import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lxmert.vision.faster_rcnn.backbone import Backbone, NormedConvolution
from lxmert.vision.faster_rcnn.folding import (
    FoldedBackbone,
    PointwiseConvolution,
    SpatialConvolution,
    fold_detector,
    folded_parameters,
)
from tests.vision.faster_rcnn.random_detectors import random_detector


def random_normed_convolution(inputs, outputs, size, **geometry):
    convolution = NormedConvolution(inputs, outputs, size, freeze_norm=True, **geometry).eval()
    norm = convolution.norm
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        tensor.data = torch.randn(outputs)
    norm.running_var.data = torch.rand(outputs) * 3
    return convolution


def by_definition(convolution, images):
    """Convolution, then the normalisation's formula, in double precision."""
    norm = convolution.norm
    hidden = F.conv2d(
        images.double(),
        convolution.weight.double(),
        None,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
    )
    mean, variance, scale, shift = (
        tensor.double()[:, None, None]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (hidden - mean) / torch.sqrt(variance + 1e-5) * scale + shift


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size_hw", [(7, 5), (6, 8), (1, 1), (1, 3)])
def test_pointwise_convolution_equals_definition(stride, size_hw):
    convolution = random_normed_convolution(6, 9, 1, stride=stride)
    images = torch.randn(3, 6, *size_hw)
    cells = PointwiseConvolution(convolution)(images.permute(0, 2, 3, 1))
    expected = by_definition(convolution, images)
    torch.testing.assert_close(cells.permute(0, 3, 1, 2), expected.float(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": 1},
        {"padding": 2, "dilation": 2},
        {"padding": 1, "groups": 3},
        {"padding": 1, "stride": 2},
    ],
)
def test_spatial_convolution_equals_definition(geometry):
    convolution = random_normed_convolution(6, 9, 3, **geometry)
    images = torch.randn(3, 6, 7, 5)
    cells = SpatialConvolution(convolution)(images.permute(0, 2, 3, 1))
    expected = by_definition(convolution, images)
    assert cells.is_contiguous()
    torch.testing.assert_close(cells.permute(0, 3, 1, 2), expected.float(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_folded_parameters_are_as_exact_as_float32_can_be():
    convolution = random_normed_convolution(4, 5, 3)
    weight, bias = folded_parameters(convolution)
    images = torch.randn(2, 4, 6, 6).double()
    found = F.conv2d(images, weight.double(), bias.double())
    torch.testing.assert_close(found, by_definition(convolution, images), rtol=1e-6, atol=1e-6)


ARCHITECTURES = {
    "plain": {},
    "groups": {"num_groups": 2},
    "features from res3": {"feature_stage": "res3", "stage_blocks": (1, 2, 0, 2)},
    "aligned, odd, not dilated": {"pooling": "align", "pooling_resolution": 7, "roi_dilation": 1},
    "no shortcut in res2": {"stem_channels": 16},
}


@torch.inference_mode()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_folded_detector_equals_unfolded_detector(name):
    detector = random_detector(**ARCHITECTURES[name])
    folded = fold_detector(copy.deepcopy(detector))
    pixels = torch.randn(3, 3, 61, 94)
    maps, folded_maps = detector.feature_map(pixels), folded.feature_map(pixels)
    torch.testing.assert_close(folded_maps, maps, rtol=1e-4, atol=1e-4)
    boxes = torch.tensor([[0.0, 0, 94, 61], [13.2, 7.1, 40.6, 33.3], [80, 50, 81, 51]])
    for one, folded_one in zip(maps, folded_maps, strict=True):
        expected, found = detector.predict(one, (61, 94), boxes), folded.predict(folded_one, (61, 94), boxes)
        for part in ("features", "object_logits", "attribute_logits", "deltas"):
            torch.testing.assert_close(getattr(found, part), getattr(expected, part), rtol=1e-3, atol=1e-3)
        plain_boxes, _ = detector.propose(one, (61, 94))
        found_boxes, _ = folded.propose(folded_one, (61, 94))
        torch.testing.assert_close(found_boxes, plain_boxes, rtol=0, atol=1e-2)


@torch.inference_mode()
def test_folded_detector_does_not_modify_its_inputs():
    folded = fold_detector(random_detector(stem_channels=16))
    pixels = torch.randn(1, 3, 50, 70)
    before = pixels.clone()
    feature_map = folded.feature_map(pixels)[0]
    kept = feature_map.clone()
    folded.predict(feature_map, (50, 70))
    assert torch.equal(pixels, before)
    assert torch.equal(feature_map, kept)


@torch.inference_mode()
def test_folded_detector_accepts_zero_rois():
    folded = fold_detector(random_detector())
    feature_map = folded.feature_map(torch.randn(1, 3, 50, 70))[0]
    predictions = folded.predict(feature_map, (50, 70), torch.zeros(0, 4))
    assert predictions.features.shape == (0, 128)


def test_folding_empties_backbone_stages_to_free_their_weights():
    backbone = random_detector().backbone
    stages = (backbone.res2, backbone.res3, backbone.res4)
    assert [len(stage) for stage in stages] == [1, 2, 2]
    FoldedBackbone(backbone)
    assert [len(stage) for stage in stages] == [0, 0, 0]


def test_folded_detector_has_no_batch_norm_and_no_trainable_parameter():
    folded = fold_detector(random_detector().train())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert not any(module.training for module in folded.modules())


def test_only_the_roi_stage_is_rounded_to_bfloat16():
    folded = fold_detector(random_detector(), torch.bfloat16)
    kinds = {name: tensor.dtype for name, tensor in folded.state_dict().items() if tensor.is_floating_point()}
    rounded = {name for name, kind in kinds.items() if kind == torch.bfloat16}
    assert rounded == {name for name in kinds if name.startswith("roi_heads.res5")}
    assert set(kinds.values()) == {torch.bfloat16, torch.float32}


@torch.inference_mode()
def test_detector_in_half_precision_is_folded_in_float32():
    detector = random_detector()
    assert isinstance(detector.backbone, Backbone)
    folded = fold_detector(detector.to(torch.bfloat16))
    predictions = folded.predict(folded.feature_map(torch.randn(1, 3, 40, 40))[0], (40, 40))
    for part in ("proposals_xyxy", "features", "object_logits", "attribute_logits", "deltas"):
        assert getattr(predictions, part).dtype == torch.float32

"""Small detectors with random weights, lively enough that boxes, classes and attributes differ."""

import torch
from torch import nn

from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnConfig


def random_detector(seed=0, **changes):
    values = {
        "pixel_std_bgr": (60.0, 60.0, 60.0),
        "stem_channels": 8,
        "res2_channels": 16,
        "width_per_group": 4,
        "stage_blocks": (1, 2, 2, 2),
        "min_size_px": 96,
        "max_size_px": 160,
        "anchor_sizes_px": (16, 32, 64),
        "proposal_channels": 12,
        "proposals_before_nms": 200,
        "max_proposals": 40,
        "pooling_resolution": 6,
        "num_object_labels": 7,
        "num_attr_labels": 5,
        "min_objects": 10,
        "max_objects": 10,
    }
    config = FasterRcnnConfig(**(values | changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        detector = FasterRcnn(config)

    def draw(tensor, std, mean=0.0):
        tensor.data = mean + std * torch.randn(tensor.shape, generator=generator)

    for module in detector.modules():
        if isinstance(module, nn.Conv2d):
            draw(module.weight, (2 / module.weight[0].numel()) ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            draw(module.weight, 0.2, 0.7)
            draw(module.bias, 0.2)
            draw(module.running_mean, 0.2)
            module.running_var.data = 0.5 + torch.rand(module.running_var.shape, generator=generator)
    detector.eval()
    head, predictor = detector.proposal_generator.rpn_head, detector.roi_heads.box_predictor
    height, width = config.min_size_px, config.min_size_px + 8
    with torch.no_grad():
        pixels = torch.randn(1, 3, height, width, generator=generator)
        feature_map = detector.feature_map(pixels)
        hidden = torch.relu(head.conv(feature_map)).flatten(2)[0].T  # (cells, channels)
        for layer, std in ((head.objectness_logits, 2.0), (head.anchor_deltas, 0.3)):
            standardise_outputs(layer, hidden, std)
        proposals, _ = detector.propose(feature_map[0], (height, width))
        features = detector.roi_features(feature_map[0], proposals)
        standardise_outputs(predictor.cls_score, features, 2.0)
        standardise_outputs(predictor.bbox_pred, features, 1.0)
        if config.num_attr_labels:
            draw(predictor.fc_attr.weight, 0.1)
            draw(predictor.attr_score.weight, 0.3)
    return detector


def standardise_outputs(layer, inputs, std):
    """Shift and scale a layer so that over these inputs its outputs vary around 0 by `std`."""
    outputs = inputs @ layer.weight.flatten(1).T
    layer.weight.mul_(std / outputs.std())
    layer.bias.copy_(-outputs.mean(dim=0) * std / outputs.std())

"""Small random detectors of five DETR-like families, with their image processors."""

import torch
from transformers import (
    ConditionalDetrConfig,
    ConditionalDetrForObjectDetection,
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DetrConfig,
    DetrForObjectDetection,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.conditional_detr.image_processing_pil_conditional_detr import (
    ConditionalDetrImageProcessorPil,
)
from transformers.models.deformable_detr.image_processing_pil_deformable_detr import (
    DeformableDetrImageProcessorPil,
)
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

NAMES = {0: "cat", 1: "dog", 2: "cup", 3: "sky", 4: "car"}
QUERIES = 12
FAMILIES = ("detr", "conditional_detr", "deformable_detr", "rt_detr", "yolos")

_SPREADS = {"class": 0.2, "bbox": 0.2, "query": 1.0, "detection_tokens": 1.0}
_DECODER_SPREAD = {"detr": 0.3, "conditional_detr": 0.3}
_EDGES = {"shortest_edge": 96, "longest_edge": 160}
_PROCESSORS = {
    "detr": lambda: DetrImageProcessorPil(size=_EDGES),
    "conditional_detr": lambda: ConditionalDetrImageProcessorPil(size=_EDGES),
    "deformable_detr": lambda: DeformableDetrImageProcessorPil(size=_EDGES),
    "rt_detr": lambda: RTDetrImageProcessorPil(size={"height": 96, "width": 128}),
    "yolos": lambda: YolosImageProcessorPil(size=_EDGES),
}


def small_detector(family="detr", seed=0):
    """A model whose queries differ clearly in class, box and score, in evaluation mode."""
    torch.manual_seed(seed)
    model = _BUILDERS[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = next((size for part, size in _SPREADS.items() if part in name), 0.0)
            spread = _DECODER_SPREAD.get(family, spread) if "decoder.layers" in name else spread
            parameter.add_(torch.randn_like(parameter) * spread)
        for name, buffer in model.named_buffers():  # so that a model left in training mode would show
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model.eval()


def small_processor(family="detr"):
    return _PROCESSORS[family]()


def save_detector(folder, family="detr", seed=0):
    """Write the model and its image processor as a folder; returns its path as text."""
    small_detector(family, seed).save_pretrained(folder)
    small_processor(family).save_pretrained(folder)
    return str(folder)


def _resnet(stages):
    return ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 6, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"][-stages:],
    )


def _transformer(stages):
    return {
        "use_timm_backbone": False,
        "backbone_config": _resnet(stages),
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "num_queries": QUERIES,
        "id2label": NAMES,
    }


def _rt_detr():
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        d_model=16,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 8, 8],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=QUERIES,
        num_denoising=0,
        id2label=NAMES,
    )
    return RTDetrForObjectDetection(config)


def _yolos():
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 48],
        patch_size=16,
        num_detection_tokens=QUERIES,
        id2label=NAMES,
    )
    return YolosForObjectDetection(config)


_BUILDERS = {
    "detr": lambda: DetrForObjectDetection(DetrConfig(**_transformer(1))),
    "conditional_detr": lambda: ConditionalDetrForObjectDetection(ConditionalDetrConfig(**_transformer(1))),
    "deformable_detr": lambda: DeformableDetrForObjectDetection(DeformableDetrConfig(**_transformer(3))),
    "rt_detr": _rt_detr,
    "yolos": _yolos,
}

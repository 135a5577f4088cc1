"""A small random vision model for the tests of encoders and extractors."""

import torch
from transformers import ViTConfig, ViTModel


def small_vit(seed: int = 3, *, width: int = 12, side_px: int = 16) -> ViTModel:
    """A transformer of one layer on square images, with patches of 8 pixels."""
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=side_px,
        patch_size=8,
    )
    return ViTModel(config)

"""Random variations of a training picture and its boxes.

Shapes: N boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageOps
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """The variation of one picture in one epoch.

    Attributes:
        is_mirrored: True exchanges left and right.
        min_size_px: the shorter side that it is resized to; None leaves the configuration's.
    """

    is_mirrored: bool
    min_size_px: int | None


def sample_augmentation(
    generator: torch.Generator, *, mirror_share: float, min_sizes_px: Sequence[int]
) -> Augmentation:
    """Draw a variation.

    Args:
        generator: the source of random numbers.
        mirror_share: probability of mirroring.
        min_sizes_px: shorter sides to choose from; empty leaves the configuration's.
    """
    is_mirrored = torch.rand((), generator=generator).item() < mirror_share
    if not min_sizes_px:
        return Augmentation(is_mirrored, None)
    choice = int(torch.randint(len(min_sizes_px), (), generator=generator))
    return Augmentation(is_mirrored, min_sizes_px[choice])


def mirror(image: Image.Image, boxes_xyxy_px: Tensor) -> tuple[Image.Image, Tensor]:
    """Exchange left and right of a picture and its boxes (N, 4)."""
    x1, y1, x2, y2 = boxes_xyxy_px.unbind(dim=1)
    return ImageOps.mirror(image), torch.stack([image.width - x2, y1, image.width - x1, y2], dim=1)

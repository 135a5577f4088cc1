"""`BackboneEncoder`: features of boxes from any vision model of `transformers`.

Each crop is cut out with sub-pixel accuracy and resized by Pillow, normalised, and encoded; the last
feature map or token sequence is averaged.

Shapes: N boxes, S side of the resized crop in pixels, T tokens, D features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lxmert.vision.vision_model import VisionModel, resize_to_unit_tensor, validate_side

_CROP_BATCH_SIZE = 32
"""Bounds memory: 32 crops of 224 px are 19 MB, their activations some hundreds."""


class BackboneEncoder:
    """Encodes the crop of each box with a vision model.

    Args:
        model: a `transformers` vision model or backbone, or the folder or hub name of one.
        size: side S of the resized crop in pixels; None for the model's `image_size`, else 224.
        mean: red, green, blue means of the normalisation (pixels in 0..1); None for those of the model's
            folder (preprocessor_config.json), else ImageNet's.
        std: the standard deviations, like `mean`.
        weights_hash: the fingerprint that the weights must have; None for any.
        channel_order: "rgb", or "bgr" for a model that expects blue first; None for that of its folder.

    Raises:
        ConfigurationError: a size below 1, mean and std that are not three numbers, or another channel order.
        WeightsError: the folder or hub name cannot be loaded, or holds other or incomplete weights.
    """

    def __init__(
        self,
        model: nn.Module | str | Path,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        weights_hash: str | None = None,
        channel_order: str | None = None,
    ) -> None:
        self.vision_model = VisionModel(model, mean, std, weights_hash, channel_order)
        self.size = validate_side(size if size is not None else self.vision_model.native_side_px)
        self._feature_dim: int | None = None

    @property
    def mean(self) -> tuple[float, float, float]:
        """Red, green, blue means of the normalisation, of pixels in 0..1."""
        return self.vision_model.normalisation.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """The standard deviations, like `mean`."""
        return self.vision_model.normalisation.std

    @property
    def identity(self) -> str:
        """Model name, crop size, and a hash of the weights and the normalisation."""
        return f"backbone-{self.vision_model.short_name}-{self.size}px-{self.vision_model.fingerprint}"

    @property
    def feature_dim(self) -> int:
        """Number of features D, determined on first use by encoding one black crop."""
        if self._feature_dim is None:
            self._feature_dim = int(self._encode(torch.zeros(1, 3, self.size, self.size)).shape[1])
        return self._feature_dim

    def __call__(self, image: Image.Image, boxes_xyxy_px: Tensor) -> Tensor:
        """Encode boxes (N, 4), x1, y1, x2, y2 inside the RGB image, to features (N, D) float32 on the CPU."""
        if len(boxes_xyxy_px) == 0:
            return torch.zeros(0, self.feature_dim)
        features = []
        for boxes in boxes_xyxy_px.detach().cpu().split(_CROP_BATCH_SIZE):
            side = (self.size, self.size)
            crops = torch.stack([resize_to_unit_tensor(image, side, box) for box in boxes])  # (n, 3, S, S)
            features.append(self._encode(crops))
        return torch.cat(features)

    def to(self, device: torch.device | str) -> "BackboneEncoder":
        """Move the model to `device`; returns itself."""
        self.vision_model.to(device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return a description from which `build_encoder` makes an equal encoder.

        Raises:
            ConfigurationError: the model was made in memory and has no name.
        """
        return {"kind": "backbone", "size": self.size, **self.vision_model.to_dict()}

    def _encode(self, crops: Tensor) -> Tensor:
        last = self.vision_model(crops)  # (n, D, h, w) or (n, T, D)
        pooled = last.mean(dim=(2, 3)) if last.ndim == 4 else last.mean(dim=1)
        # A clone, because tensors made in inference mode cannot be used in training later.
        return pooled.float().cpu().clone()

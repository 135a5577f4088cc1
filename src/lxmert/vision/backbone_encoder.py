"""`BackboneEncoder`: features of boxes from any vision model of `transformers`.

Each crop is cut out with sub-pixel accuracy and resized by Pillow, normalised, and encoded; the last
feature map or token sequence is averaged. Pooler layers are passed over on purpose: many published
checkpoints lack them, and `transformers` then fills them with random numbers.

Shapes: N boxes, S side of the resized crop in pixels, T tokens, D features.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lxmert.errors import ConfigurationError, WeightsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_SIZE_PX = 224

_CROPS_AT_ONCE = 32
"""Bounds memory: 32 crops of 224 px are 19 MB, their activations some hundreds."""


class BackboneEncoder:
    """Encodes the crop of each box with a vision model.

    Args:
        model: a `transformers` vision model or backbone, or the folder or hub name of one.
        size: side S of the resized crop in pixels; None takes the model's `image_size`, else 224.
        mean: red, green, blue means of the normalisation (pixels in 0..1); None takes those of the model's
            folder (preprocessor_config.json), else ImageNet's.
        std: the standard deviations, like `mean`.

    Raises:
        ConfigurationError: a size below 1, or mean and std that are not three numbers.
        WeightsError: the folder or hub name cannot be loaded.
    """

    def __init__(
        self,
        model: nn.Module | str | Path,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        published: Mapping[str, Any] = {}
        if isinstance(model, (str, Path)):
            self.model = _load_model(str(model))
            self.name: str | None = str(model)
            published = _published_normalisation(str(model))
        else:
            self.model = model
            self.name = getattr(getattr(model, "config", None), "name_or_path", None) or None
        # A dual encoder such as CLIP: its picture half is what encodes a crop.
        self.model = getattr(self.model, "vision_model", self.model).eval()
        self.size = _checked_side(size if size is not None else _native_side(self.model))
        self.mean = _three(mean if mean is not None else published.get("image_mean", IMAGENET_MEAN), "mean")
        self.std = _three(std if std is not None else published.get("image_std", IMAGENET_STD), "std")
        if min(self.std) <= 0:
            raise ConfigurationError(f"std is {self.std}; expected three positive numbers")
        self.weights_hash = _hash_weights(self.model)
        self._feature_dim: int | None = None

    @property
    def identity(self) -> str:
        """Model name, crop size, and a hash of the weights and the normalisation."""
        name = Path(self.name).name if self.name else type(self.model).__name__
        normalisation = hashlib.sha256(repr((self.mean, self.std)).encode()).hexdigest()[:4]
        return f"backbone-{name}-{self.size}px-{self.weights_hash}-{normalisation}"

    @property
    def feature_dim(self) -> int:
        """Number of features D, found by encoding one black crop the first time it is asked for."""
        if self._feature_dim is None:
            self._feature_dim = int(self._encode(torch.zeros(1, 3, self.size, self.size)).shape[1])
        return self._feature_dim

    def __call__(self, image: Image.Image, boxes_xyxy_px: Tensor) -> Tensor:
        """Features (N, D) float32, on the CPU, of the boxes (N, 4), x1, y1, x2, y2 inside the RGB image."""
        if len(boxes_xyxy_px) == 0:
            return torch.zeros(0, self.feature_dim)
        features = []
        for boxes in boxes_xyxy_px.detach().cpu().split(_CROPS_AT_ONCE):
            crops = torch.stack([self._crop(image, box) for box in boxes])  # (n, 3, S, S)
            features.append(self._encode(crops))
        return torch.cat(features)

    def to(self, device: torch.device | str) -> "BackboneEncoder":
        """Move the model to `device`; returns itself."""
        self.model.to(device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """A description from which `from_dict` makes an equal encoder.

        Raises:
            ConfigurationError: the model was made in memory and so has no name to find it by.
        """
        if self.name is None:
            raise ConfigurationError(
                f"the backbone {type(self.model).__name__} was made in memory and cannot be saved by name; "
                f"save it with save_pretrained and give its folder to BackboneEncoder"
            )
        return {
            "kind": "backbone",
            "model": self.name,
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "weights_hash": self.weights_hash,
        }

    @classmethod
    def from_dict(
        cls,
        model: str,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        weights_hash: str | None = None,
    ) -> "BackboneEncoder":
        """Load the model by its name, and check that its weights are still those of the description.

        Raises:
            WeightsError: the weights under this name have changed, so features would differ in silence.
        """
        encoder = cls(model, size=size, mean=mean, std=std)
        if weights_hash is not None and weights_hash != encoder.weights_hash:
            raise WeightsError(
                f"{model}: its weights (hash {encoder.weights_hash}) are not those that the features "
                f"were made with ({weights_hash}); get the original weights, or make the extractor anew"
            )
        return encoder

    def _crop(self, image: Image.Image, box: Tensor) -> Tensor:
        resized = image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=tuple(box.tolist()))
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(torch.float32).div_(255.0)  # (3, S, S)

    @torch.inference_mode()
    def _encode(self, crops: Tensor) -> Tensor:
        normalised = (crops - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]
        parameter = next(self.model.parameters())
        outputs = self.model(pixel_values=normalised.to(parameter.device, parameter.dtype))
        maps = getattr(outputs, "feature_maps", None)
        last = maps[-1] if maps else outputs.last_hidden_state  # (n, D, h, w) or (n, T, D)
        pooled = last.mean(dim=(2, 3)) if last.ndim == 4 else last.mean(dim=1)
        # A clone, because tensors of inference mode could not take part in training later.
        return pooled.float().cpu().clone()


def _load_model(name: str) -> nn.Module:
    from transformers import AutoConfig, AutoModel
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

    try:
        config = AutoConfig.from_pretrained(name)
        is_backbone = any("Backbone" in architecture for architecture in config.architectures or ())
        # Not AutoBackbone: it asks the hub even about local folders, and takes an offline hub for timm.
        loader = MODEL_FOR_BACKBONE_MAPPING[type(config)] if is_backbone else AutoModel
        model: nn.Module = loader.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{name}: no vision model can be loaded from here ({reason})") from error
    return model


def _published_normalisation(name: str) -> Mapping[str, Any]:
    from transformers import ImageProcessingMixin

    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in settings.items() if value is not None}


def _native_side(model: nn.Module) -> int:
    side = getattr(getattr(model, "config", None), "image_size", None)
    if isinstance(side, (list, tuple)):
        side = side[0]
    return int(side) if side is not None else DEFAULT_SIZE_PX


def _checked_side(size: Any) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigurationError(f"crops of size {size!r}; expected a whole number of pixels of at least 1")
    return size


def _three(values: Any, name: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} is {values!r}; expected three numbers, red, green, blue") from error
    return red, green, blue


def _hash_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]

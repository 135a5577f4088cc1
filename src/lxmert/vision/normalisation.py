"""`Normalisation`: from the pixels of a picture to the values that a network was trained on.

Published models state it in preprocessor_config.json as several optional steps (rescaling, an offset, means
and deviations, a reversed channel order). Together they are one subtraction and one division for each channel
of pixels in 0..1, and possibly another order of the channels.

Shapes: n images, H and W height and width in pixels.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lxmert.errors import ConfigurationError
from lxmert.faults import number_fault
from lxmert.vision.pixel_formats import CHANNEL_ORDERS
from lxmert.weights.report import quiet_transformers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MAX_UINT8 = 255.0
_ROUNDING = 1e-6
"""Published factors are 1/255 written with six digits or more."""

_UNSUPPORTED = ("do_grayscale", "do_color_quantize")
"""Steps of image processors that change colours and are not a normalisation."""


@dataclass(frozen=True)
class Normalisation:
    """Means and standard deviations of pixels in 0..1, and the order of the normalised channels.

    Attributes:
        mean: of red, green and blue.
        std: of red, green and blue, above 0.
        channel_order: "rgb", or "bgr" for blue first.

    Raises:
        ConfigurationError: mean or std that are not three numbers, or another channel order.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channel_order: str = CHANNEL_ORDERS[0]

    def __post_init__(self) -> None:
        # The dataclass is frozen for its users; construction itself stores the checked values.
        object.__setattr__(self, "mean", _rgb_triple(self.mean, "mean"))
        object.__setattr__(self, "std", _rgb_triple(self.std, "std"))
        if min(self.std) <= 0:
            raise ConfigurationError(f"std is {self.std}; expected three positive numbers")
        if self.channel_order not in CHANNEL_ORDERS:
            raise ConfigurationError(
                f"channel_order is {self.channel_order!r}; expected {' or '.join(CHANNEL_ORDERS)}"
            )

    @property
    def fingerprint(self) -> str:
        """A hash of the settings, four hexadecimal digits."""
        parts: tuple[Any, ...] = (self.mean, self.std)
        if self.channel_order != CHANNEL_ORDERS[0]:
            parts += (self.channel_order,)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:4]

    def with_overrides(
        self, mean: Sequence[float] | None, std: Sequence[float] | None, channel_order: str | None
    ) -> "Normalisation":
        """Return a copy with the values that are not None replaced."""
        changes = {"mean": mean, "std": std, "channel_order": channel_order}
        return replace(self, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]  # checked above

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (n, 3, H, W) in 0..1, red first, for the network."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        normalised = (pixels - mean) / std
        return normalised if self.channel_order == CHANNEL_ORDERS[0] else normalised.flip(1)

    def to_dict(self) -> dict[str, Any]:
        """`{"mean": […], "std": […], "channel_order": …}`."""
        return {"mean": list(self.mean), "std": list(self.std), "channel_order": self.channel_order}


def load_normalisation(model_path: str) -> Normalisation:
    """Read the normalisation of the image processor stored with a model; ImageNet's if there is none.

    Args:
        model_path: the model's folder.

    Raises:
        ConfigurationError: it does more than normalise, or its values are invalid.
    """
    processor = _load_image_processor(model_path)
    unsupported = [step for step in _UNSUPPORTED if getattr(processor, step, False)]
    if unsupported:
        raise ConfigurationError(
            f"{model_path}: its image processor changes colours in a way that is not supported here "
            f"({', '.join(unsupported)}); pass mean, std and channel_order to do without it"
        )
    scale, offset = _rescaling(processor, model_path)
    means = _channel_values(processor, "image_mean", IMAGENET_MEAN)
    deviations = _channel_values(processor, "image_std", IMAGENET_STD)
    divisions = int(bool(getattr(processor, "include_top", False)))  # EfficientNet's divides once more.
    if getattr(processor, "do_normalize", True):
        divisions += 1
    else:
        means = (0.0, 0.0, 0.0)
    red, green, blue = (
        ((mean + offset) / scale, deviation**divisions / scale)
        for mean, deviation in zip(means, deviations, strict=True)
    )
    return Normalisation(
        mean=(red[0], green[0], blue[0]),
        std=(red[1], green[1], blue[1]),
        channel_order=CHANNEL_ORDERS[bool(getattr(processor, "do_flip_channel_order", False))],
    )


def _rescaling(processor: Any, model_path: str) -> tuple[float, float]:
    """Return the factor of pixels in 0..1, and the offset subtracted afterwards."""
    if not getattr(processor, "do_rescale", True):
        return _MAX_UINT8, 0.0
    factor = getattr(processor, "rescale_factor", None)
    factor = 1 / _MAX_UINT8 if factor is None else factor
    if faults := number_fault("rescale_factor", factor, _ROUNDING, math.inf):
        raise ConfigurationError(f"{model_path}: {faults[0]}")
    scale = _MAX_UINT8 * factor
    offset = float(bool(getattr(processor, "rescale_offset", False)))
    return 1.0 if math.isclose(scale, 1.0, rel_tol=_ROUNDING) else scale, offset


def _channel_values(processor: Any, name: str, default: tuple[float, ...]) -> tuple[float, float, float]:
    stated = getattr(processor, name, None)
    stated = default if stated is None else stated
    return _rgb_triple([stated] * 3 if isinstance(stated, (int, float)) else stated, name)


def _load_image_processor(model_path: str) -> Any:
    """Load the image processor of a model, settings as attributes; an object without any if there is none."""
    from transformers import ImageProcessingMixin
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        with quiet_transformers():
            return AutoImageProcessor.from_pretrained(model_path, backend="pil", trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, ImportError):
        pass  # There is none, or one of an unknown kind, whose file is read directly.
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(model_path)
    except (OSError, ValueError):
        settings = {}
    return SimpleNamespace(**settings)


def _rgb_triple(values: Any, name: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} is {values!r}; expected three numbers, red, green, blue") from error
    return red, green, blue

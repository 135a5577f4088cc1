"""Conversion of pixels of any mode or dtype to 8 bits, red, green and blue.

Shapes: H height, W width of the image in pixels.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lxmert.errors import ImageError
from lxmert.faults import tensor_layout_fault

CHANNEL_ORDERS = ("rgb", "bgr")
"""The channel orders of networks; pictures are red, green, blue."""

_LARGEST_8_BIT = 255
_LARGEST_16_BIT = 65_535
_WHITE = 255


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert a picture of any Pillow mode to RGB, transparency over white; `name` is for the error.

    Raises:
        ImageError: values out of the mode's range, or a mode that has no colours.
    """
    if image.mode.startswith("I"):
        if image.mode == "I":
            _reject_8_bit_values(np.asarray(image), name)
        image = _from_16_bit(np.asarray(image), name, image.info.get("transparency"))
    elif image.mode == "F":
        image = Image.fromarray(_unit_to_uint8(np.asarray(image), name))
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    try:
        if not transparent:
            return image.convert("RGB")
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    except (ValueError, TypeError) as error:
        raise ImageError(f"{name}: pixels of mode {image.mode} cannot become RGB; save it as RGB") from error


def from_array(values: np.ndarray, name: str) -> Image.Image:
    """Convert an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, or grey of uint16, to a picture.

    Raises:
        ImageError: another shape or dtype.
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))) or values.size == 0:
        raise ImageError(
            f"{name} has shape {values.shape}; expected (height, width, 3 or 4) or (height, width)"
        )
    if values.dtype == np.uint16 and values.ndim == 2:
        return _from_16_bit(values, name)
    if values.dtype != np.uint8:
        raise ImageError(f"{name} has dtype {values.dtype}; expected uint8, red green blue, 0..255")
    return Image.fromarray(np.ascontiguousarray(values))


def from_tensor(values: Tensor) -> Image.Image:
    """Convert a tensor (1, H, W), (3, H, W) or (4, H, W) of uint8, or of floats in 0..1, to a picture.

    Raises:
        ImageError: another shape or dtype, floats beyond 0..1, or not a dense tensor.
    """
    if fault := tensor_layout_fault("image tensor", values):
        raise ImageError(fault)
    if values.ndim != 3 or values.shape[0] not in (1, 3, 4) or values.numel() == 0:
        raise ImageError(f"image tensor has shape {tuple(values.shape)}; expected (3, height, width)")
    array = values.detach().cpu().permute(1, 2, 0)
    if array.is_floating_point():
        return from_array(_unit_to_uint8(array.to(torch.float32).numpy(), "image tensor"), "image tensor")
    if array.dtype != torch.uint8:
        raise ImageError(f"image tensor has dtype {array.dtype}; expected uint8, or floats in 0..1")
    return from_array(array.numpy(), "image tensor")


def _reject_8_bit_values(values: np.ndarray, name: str) -> None:
    # As 16 bits such a picture would be black; an array of int32 with these values has 8 bits.
    high = int(values.max())
    if 0 < high <= _LARGEST_8_BIT and int(values.min()) >= 0:
        raise ImageError(
            f"{name}: 32-bit pixels reach only {high}; expected 16 bits, 0..65535 (or uint8 for 0..255)"
        )


def _from_16_bit(values: np.ndarray, name: str, transparent: Any = None) -> Image.Image:
    # Pillow's 32-bit mode "I" has no range of its own; it results from opening a 16-bit file.
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _LARGEST_16_BIT:
        raise ImageError(f"{name}: integer pixels reach from {low} to {high}; expected 16 bits, 0..65535")
    grey = np.round(values.astype(np.float32) * (255.0 / _LARGEST_16_BIT)).astype(np.uint8)
    if isinstance(transparent, int):  # A palette's transparency may be left over as bytes.
        grey[values == transparent] = _WHITE
    return Image.fromarray(grey)


def _unit_to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: pixels contain NaN or infinity; expected floats in 0..1")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"{name}: float pixels reach from {low:g} to {high:g}; expected 0..1 (or uint8 for 0..255)"
        )
    return np.round(values * 255.0).astype(np.uint8)

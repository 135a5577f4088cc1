"""Preprocessing of RGB images for the detector, and conversion of its boxes to image pixels.

Sizes and resampling are those of the published pipeline, because features depend on them: bilinear on float
pixels without antialiasing (so that most pixels of a large photograph are skipped), rounding or clamping;
then channels in the order blue, green, red, minus the means.

Shapes: H height and W width of the image, h and w those in network pixels, N boxes.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lxmert.errors import ImageError
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.geometry import clip
from lxmert.vision.images import as_rgb

MIN_NETWORK_SIDE_PX = 3
"""With fewer pixels the output of the stem's pooling is empty; the published code crashes there."""

_MIN_SIDE_PX = 0.01
"""Least side of a box: clipping may empty a refined box at the image border, and `Regions` has none."""


def network_size(size_hw: tuple[int, int], min_size_px: int, max_size_px: int) -> tuple[int, int]:
    """Compute the height and width in network pixels of an image of a given height and width.

    The shorter side becomes `min_size_px`, or less if the longer one would exceed `max_size_px`. Both are
    rounded separately, so that the scales of the axes differ slightly.

    Raises:
        ImageError: a side below one pixel.
    """
    height, width = size_hw
    if min(height, width) < 1:
        raise ImageError(f"the image is {width}×{height} pixels (width×height); expected at least one each")
    scale = min_size_px / min(height, width)
    high: float = min_size_px if height < width else scale * height
    wide: float = scale * width if height < width else min_size_px
    if max(high, wide) > max_size_px:
        shrink = max_size_px / max(high, wide)
        high, wide = high * shrink, wide * shrink
    return max(int(high + 0.5), MIN_NETWORK_SIDE_PX), max(int(wide + 0.5), MIN_NETWORK_SIDE_PX)


def to_network_pixels(image_rgb: Image.Image, config: FasterRcnnConfig, channel_order: str = "bgr") -> Tensor:
    """Resize and normalise one image.

    Args:
        image_rgb: the image; converted to RGB and rotated upright first if necessary.
        config: defines the sizes, means and standard deviations.
        channel_order: "bgr", as the detector was trained; "rgb" swaps red and blue, as the published
            extraction script did.

    Returns:
        (3, h, w) float32.

    Raises:
        ImageError: an image without pixels.
    """
    image = as_rgb(image_rgb)
    height, width = network_size((image.height, image.width), config.min_size_px, config.max_size_px)
    values = torch.from_numpy(np.array(image))  # (H, W, 3) uint8
    pixels = torch.empty(3, height, width)
    for plane in range(3):
        # One channel at a time: as floats, all three of the largest allowed image would need a gigabyte.
        source = values[:, :, 2 - plane if channel_order == "bgr" else plane].to(torch.float32)
        pixels[plane] = F.interpolate(
            source[None, None], size=(height, width), mode="bilinear", align_corners=False, antialias=False
        )[0, 0]
    mean, std = (torch.tensor(numbers) for numbers in (config.pixel_mean_bgr, config.pixel_std_bgr))
    return pixels.sub_(mean[:, None, None]).div_(std[:, None, None])


def scale_xyxy(size_hw: tuple[int, int], network_hw: tuple[int, int]) -> Tensor:
    """Return image pixels per network pixel along x, y, x, y: (4,) float32."""
    down, across = (old / new for old, new in zip(size_hw, network_hw, strict=True))
    return torch.tensor([across, down, across, down])


def to_image_boxes(boxes_xyxy: Tensor, network_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Convert boxes (N, 4) from network to image pixels, clipped to the image but never empty."""
    boxes = clip(boxes_xyxy * scale_xyxy(size_hw, network_hw), size_hw)
    limits = boxes.new_tensor([size_hw[1], size_hw[0]])
    # Float32 has 24 bits: a fixed least side would round to 0 at the far end of a very long image.
    sides = (limits * 2.0**-20).clamp(min=_MIN_SIDE_PX)
    low, high = boxes[:, :2], boxes[:, 2:]
    empty = high <= low
    low = torch.where(empty, torch.minimum(low, limits - sides), low)
    return torch.cat([low, torch.where(empty, low + sides, high)], dim=1)

"""Batches of images with boxes, padded to the largest.

Shapes: B images, N the largest number of boxes of an image, H and W the largest height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lxmert.training.detection.losses import NO_ATTRIBUTE

NO_BOX = -1
"""Object id of padding."""


@dataclass(frozen=True)
class DetectionExample:
    """One image as the network's input, and its true boxes.

    Attributes:
        pixel_values: (3, h, w) float32, normalised.
        boxes_xyxy: (N, 4) float32, network pixels.
        object_ids: (N,) int64.
        attribute_ids: (N,) int64, NO_ATTRIBUTE for boxes without.
    """

    pixel_values: Tensor
    boxes_xyxy: Tensor
    object_ids: Tensor
    attribute_ids: Tensor


def collate(examples: Sequence[DetectionExample]) -> dict[str, Tensor]:
    """Make the arguments of `DetectorInTraining.forward`.

    Images are padded with 0 at the right and bottom, which after normalisation is the mean colour.
    """
    sizes = torch.tensor([example.pixel_values.shape[1:] for example in examples])  # (B, 2)
    height, width = sizes.amax(dim=0).tolist()
    pixels = torch.zeros(len(examples), 3, height, width)
    for row, example in enumerate(examples):
        h, w = example.pixel_values.shape[1:]
        pixels[row, :, :h, :w] = example.pixel_values
    return {
        "pixel_values": pixels,
        "sizes_hw": sizes,
        "boxes_xyxy": pad_sequence([example.boxes_xyxy for example in examples], batch_first=True),
        "object_ids": pad_sequence(
            [example.object_ids for example in examples], batch_first=True, padding_value=NO_BOX
        ),
        "attribute_ids": pad_sequence(
            [example.attribute_ids for example in examples], batch_first=True, padding_value=NO_ATTRIBUTE
        ),
    }

"""The one place where images with different numbers of objects become one batch.

Shapes: B images, N objects of one image, O the most objects of any image in the batch, D features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lxmert.errors import RegionsError
from lxmert.vision.regions import Regions


def pad_regions(regions: Sequence[Regions]) -> dict[str, Tensor]:
    """Stack the regions of several images, padding with zeros to the longest.

    Args:
        regions: one `Regions` for each image, all of one extractor, feature width and device.

    Returns:
        `visual_feats` (B, O, D) float32, `visual_pos` (B, O, 4) float32 in 0..1 as fractions of each
        image, `visual_attention_mask` (B, O) int64, 1 for an object and 0 for padding. O is at least 1,
        so that a batch of images without any object still has a shape the models accept.

    Raises:
        RegionsError: no image at all, or regions of different extractors or feature widths.
    """
    if len(regions) == 0:
        raise RegionsError("no regions to batch; expected those of at least one image")
    width = regions[0].feature_dim
    for index, item in enumerate(regions):
        if item.feature_dim != width:
            raise RegionsError(
                f"image {index} has {item.feature_dim} features per object ({item.extractor}) and image 0 "
                f"has {width} ({regions[0].extractor}); expected one extractor for the whole batch"
            )
        if item.extractor != regions[0].extractor:
            raise RegionsError(
                f"image {index} was processed by {item.extractor} and image 0 by {regions[0].extractor}; "
                "expected one extractor for the whole batch"
            )
    batch, objects = len(regions), max(1, *map(len, regions))
    device = regions[0].device
    visual_feats = torch.zeros(batch, objects, width, device=device)
    visual_pos = torch.zeros(batch, objects, 4, device=device)
    mask = torch.zeros(batch, objects, dtype=torch.int64, device=device)
    for index, item in enumerate(regions):
        visual_feats[index, : len(item)] = item.features
        visual_pos[index, : len(item)] = item.boxes_xyxy_unit()
        mask[index, : len(item)] = 1
    return {"visual_feats": visual_feats, "visual_pos": visual_pos, "visual_attention_mask": mask}

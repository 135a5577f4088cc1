"""Regions of boxes that the caller gives.

Shapes: N boxes of one image, D features per box.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from lxmert.errors import RegionsError
from lxmert.vision.extractor import BoxEncoder
from lxmert.vision.geometry import BoxesLike, check_one_set_per_image, validate_given_boxes
from lxmert.vision.images import ImageSource, as_rgb_list
from lxmert.vision.regions import Regions


class GivenBoxes:
    """Encodes boxes that someone else drew: an annotator, a detector, a simulation.

    Args:
        encoder: makes the features of a box.
    """

    needs_boxes = True

    def __init__(self, encoder: BoxEncoder) -> None:
        self.encoder = encoder

    @property
    def identity(self) -> str:
        """For example "given-boxes/pooled-pixels-8"."""
        return f"given-boxes/{self.encoder.identity}"

    @property
    def feature_dim(self) -> int:
        """The encoder's."""
        return self.encoder.feature_dim

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        boxes_xyxy_px: Sequence[BoxesLike] | None = None,
    ) -> list[Regions]:
        """Encode the boxes of each image.

        Args:
            images: Pillow images of any mode, or anything else that `load_image` reads.
            boxes_xyxy_px: for each image (N, 4) x1, y1, x2, y2 in its pixels.

        Raises:
            RegionsError: no boxes, not one set per image, or a box that is not inside its image.
        """
        if boxes_xyxy_px is None:
            raise RegionsError(
                f"{self.identity} does not find objects by itself; pass boxes_xyxy_px=, one (N, 4) set for "
                "each image (boxes= of the processor, --boxes FILE on the command line)"
            )
        rgb_images = as_rgb_list(images)
        check_one_set_per_image(boxes_xyxy_px, len(rgb_images))
        return [
            encode_given_boxes(self, image, boxes)
            for image, boxes in zip(rgb_images, boxes_xyxy_px, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """`{"kind": "given_boxes", "encoder": …}`."""
        return {"kind": "given_boxes", "encoder": self.encoder.to_dict()}


def encode_given_boxes(extractor: Any, image: Image.Image, boxes_xyxy_px: BoxesLike) -> Regions:
    """Check boxes (N, 4) against the RGB image and encode them with `extractor.encoder`."""
    size_hw = (image.height, image.width)
    boxes = validate_given_boxes(boxes_xyxy_px, size_hw)
    return Regions(
        boxes_xyxy_px=boxes,
        features=extractor.encoder(image, boxes),
        size_hw=size_hw,
        extractor=extractor.identity,
    )

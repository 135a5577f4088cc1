"""Extractors, which turn images into `Regions`: one small protocol for given boxes, grids and detectors.

Shapes: N objects of one image, D features per object.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from lxmert.vision.regions import Regions


@runtime_checkable
class RegionExtractor(Protocol):
    """Makes `Regions` of images; each image's result is independent of the rest of the batch.

    An extractor that lays out its own boxes and accepts none also has `takes_boxes = False`.
    """

    @property
    def identity(self) -> str:
        """A name for everything that the features depend on; stored in each `Regions`."""
        ...

    @property
    def feature_dim(self) -> int:
        """Number of features per object D."""
        ...

    @property
    def needs_boxes(self) -> bool:
        """Whether the caller must give the boxes."""
        ...

    def __call__(
        self, images: Sequence[Image.Image], boxes_xyxy_px: Sequence[Tensor] | None = None
    ) -> list[Regions]:
        """Return one `Regions` for each RGB image; boxes are (N, 4) for each, in pixels of that image."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description from which `build_extractor` makes an equal extractor."""
        ...


@runtime_checkable
class BoxEncoder(Protocol):
    """Makes the features of boxes that are already known."""

    @property
    def identity(self) -> str:
        """A name for everything that the features depend on."""
        ...

    @property
    def feature_dim(self) -> int:
        """Number of features per box D."""
        ...

    def __call__(self, image: Image.Image, boxes_xyxy_px: Tensor) -> Tensor:
        """Return features (N, D) float32 of the boxes (N, 4) of one RGB image."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description from which `build_encoder` makes an equal encoder."""
        ...

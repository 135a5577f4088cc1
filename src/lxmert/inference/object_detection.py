"""The objects that an extractor sees in one picture: boxes, names and scores, as a list and as a drawing.

Shapes: N boxes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lxmert.errors import InputError
from lxmert.inference.object_names import ObjectNames
from lxmert.vision.drawing import draw_regions
from lxmert.vision.extraction import extract_regions
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.images import ImageSource, load_image
from lxmert.vision.regions import Regions

_PIXEL_DIGITS = 2
_SCORE_DIGITS = 4


@dataclass(frozen=True)
class DetectedObject:
    """One object.

    Attributes:
        box_xyxy_px: x1, y1, x2, y2 in pixels of the picture.
        name: of its class, or None if the extractor does not know classes.
        attribute: for example its colour, or None.
        score: probability of the class, or None.
        attribute_score: probability of the attribute, or None.
    """

    box_xyxy_px: tuple[float, float, float, float]
    name: str | None
    attribute: str | None
    score: float | None
    attribute_score: float | None

    @property
    def label(self) -> str | None:
        """Attribute and name, for example "red circle"; None without either."""
        return " ".join(filter(None, (self.attribute, self.name))) or None

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON: box in pixels, names, scores."""
        scores = {"score": self.score, "attribute_score": self.attribute_score}
        return {
            "box": [round(corner, _PIXEL_DIGITS) for corner in self.box_xyxy_px],
            "name": self.name,
            "attribute": self.attribute,
            **{key: None if value is None else round(value, _SCORE_DIGITS) for key, value in scores.items()},
        }


@dataclass(frozen=True)
class DetectionResult:
    """A picture and the objects detected in it.

    Attributes:
        image: upright and RGB.
        regions: the objects with their features, in the order of `objects`.
        objects: the same in words.
    """

    image: Image.Image
    regions: Regions
    objects: tuple[DetectedObject, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON: the extractor, the picture's size in pixels, and the objects."""
        height, width = self.regions.size_hw
        return {
            "extractor": self.regions.extractor,
            "size": {"width": width, "height": height},
            "objects": [item.to_dict() for item in self.objects],
        }

    def draw(self) -> Image.Image:
        """Draw the picture with boxes, names and scores."""
        labels = [item.label for item in self.objects]
        boxes = self.regions.boxes_xyxy_px
        if not any(labels):
            return draw_regions(self.image, boxes, legend=True)
        words = [label or "" for label in labels]
        return draw_regions(self.image, boxes, words, self.regions.object_scores)


def detect_objects(
    image: ImageSource,
    extractor: RegionExtractor,
    boxes_xyxy_px: Tensor | None = None,
    *,
    top: int | None = None,
    min_score: float | None = None,
) -> DetectionResult:
    """Detect the objects of one picture.

    Args:
        image: path, address, bytes, PIL image or array.
        extractor: finds the objects.
        boxes_xyxy_px: (N, 4) boxes in pixels to describe instead; they keep their order.
        top: number of objects to keep, those with the highest scores.
        min_score: least score of an object to keep, in 0..1.

    Raises:
        ImageError: the image cannot be read.
        RegionsError: boxes that do not fit the image, or that the extractor needs or does not accept.
        InputError: `min_score` for an extractor without scores.
    """
    loaded = load_image(image)
    (regions,) = extract_regions(extractor, loaded, boxes_xyxy_px)
    regions = regions.select(_select_rows(regions, top, min_score, keep_order=boxes_xyxy_px is not None))
    names = ObjectNames.from_extractor(extractor)
    return DetectionResult(
        loaded, regions, tuple(describe_object(regions, row, names) for row in range(len(regions)))
    )


def _select_rows(regions: Regions, top: int | None, min_score: float | None, *, keep_order: bool) -> Tensor:
    """Return the positions of the objects to keep, best first or in their own order."""
    rows = torch.arange(len(regions))
    scores = regions.object_scores
    if scores is None:
        if min_score is not None:
            raise InputError(
                f"{regions.extractor} gives no scores, so there is no minimum score to apply; omit it"
            )
        return rows[:top]
    order = scores.sort(descending=True, stable=True).indices.cpu()
    if min_score is not None:
        order = order[scores.cpu()[order] >= min_score]
    return order[:top].sort().values if keep_order else order[:top]


def describe_object(regions: Regions, row: int, names: ObjectNames) -> DetectedObject:
    """Return one object of the regions with its names."""
    x1, y1, x2, y2 = regions.boxes_xyxy_px[row].tolist()
    return DetectedObject(
        box_xyxy_px=(x1, y1, x2, y2),
        name=names.object_name(regions, row),
        attribute=names.attribute_name(regions, row),
        score=None if regions.object_scores is None else float(regions.object_scores[row]),
        attribute_score=None if regions.attribute_scores is None else float(regions.attribute_scores[row]),
    )

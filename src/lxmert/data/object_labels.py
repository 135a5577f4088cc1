"""Class and attribute ids of the objects of a data set, from a detector or an instances file.

LXMERT's object prediction (paper section 3.1.2) learns them besides the answers. A detector labels the
objects that it finds, as in the paper. Where boxes are given, the class is the category of the box's record,
and the attribute is the combination of the record's "attributes" (in made scenes: colour, size and fill), one
class for each combination that occurs.

Shapes: I images (rows), B of them in a batch, O the largest number of objects of an image (in the batch, of
its images).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lxmert.data.coco import CocoImage
from lxmert.data.task_examples import IGNORED_LABEL
from lxmert.vision.regions import Regions


@dataclass(frozen=True)
class ObjectLabels:
    """Classes and attributes of all objects of a data set's images, padded to the largest number of objects.

    Attributes:
        objects: (I, O) int64, class ids.
        attributes: (I, O) int64, attribute ids.
        object_count: number of classes.
        attribute_count: number of attributes; 1 where no record has any.
        object_confidences: (I, O) float32, the extractor's confidence in each class; None if unknown.
        attribute_confidences: (I, O) float32, the same for the attributes.
    """

    objects: Tensor
    attributes: Tensor
    object_count: int
    attribute_count: int
    object_confidences: Tensor | None = None
    attribute_confidences: Tensor | None = None

    @classmethod
    def from_images(cls, images: Mapping[int, CocoImage]) -> "ObjectLabels":
        """Collect the labels of images by row; objects in other rows have none.

        Ids count the categories and the attribute combinations of these images, in sorted order.
        """
        categories = sorted({int(number) for image in images.values() for number in image.category_ids})
        combinations = sorted(
            {key for image in images.values() for key in map(_attribute_key, image.attributes) if key}
        )
        object_id = {category: index for index, category in enumerate(categories)}
        attribute_id = {key: index for index, key in enumerate(combinations)}
        shape = (max(images, default=-1) + 1, max(map(len, images.values()), default=0))
        objects = torch.full(shape, IGNORED_LABEL)
        attributes = torch.full(shape, IGNORED_LABEL)
        for row, image in images.items():
            for column, category in enumerate(image.category_ids.tolist()):
                objects[row, column] = object_id[category]
                attributes[row, column] = attribute_id.get(
                    _attribute_key(image.attributes[column]), IGNORED_LABEL
                )
        return cls(objects, attributes, max(len(categories), 1), max(len(combinations), 1))

    @classmethod
    def from_regions(cls, images: Sequence[Regions]) -> "ObjectLabels | None":
        """Collect the extractor's labels of these images; None if it has none."""
        if any(image.object_ids is None for image in images):
            return None
        max_objects = max(map(len, images), default=0)
        objects, attributes, object_confidences, attribute_confidences = (
            _padded([getattr(image, name) for image in images], max_objects, padding)
            for name, padding in (
                ("object_ids", IGNORED_LABEL),
                ("attribute_ids", IGNORED_LABEL),
                ("object_scores", 1.0),
                ("attribute_scores", 1.0),
            )
        )
        return cls(
            objects,
            attributes,
            _count(objects),
            _count(attributes),
            object_confidences,
            attribute_confidences,
        )

    def batch(
        self, rows: Tensor, objects: int, *, confidences: bool = False
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The model's `obj_labels` for these rows, truncated to `objects` objects.

        Args:
            rows: (B,) int64.
            objects: O of the batch.
            confidences: True weights each label by the extractor's confidence, False all equally.

        Returns:
            "obj" and "attr", each class ids (B, O) int64 and weights (B, O) float32; objects without a
            label have the id -100 and the weight 0.
        """
        tables = {
            "obj": (self.objects, self.object_confidences if confidences else None),
            "attr": (self.attributes, self.attribute_confidences if confidences else None),
        }
        return {
            task: labels_with_weights(
                ids[rows, :objects], None if weights is None else weights[rows, :objects]
            )
            for task, (ids, weights) in tables.items()
        }


def labels_with_weights(ids: Tensor, confidences: Tensor | None) -> tuple[Tensor, Tensor]:
    """Class ids (B, O) and their weights: the confidences, or 1 where there are none; 0 without a label."""
    known = (ids != IGNORED_LABEL).to(torch.float32)
    return ids, known if confidences is None else known * confidences


def _padded(values_of_images: Sequence[Tensor | None], max_objects: int, padding: float) -> Tensor:
    """Stack into a table (I, O), of the padding's dtype."""
    table = torch.full((len(values_of_images), max_objects), padding)
    for row, values in enumerate(values_of_images):
        if values is not None:
            table[row, : len(values)] = values
    return table


def _count(ids: Tensor) -> int:
    return max(int(ids.max()) + 1, 1) if ids.numel() else 1


def _attribute_key(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={attributes[name]}" for name in sorted(attributes))

"""What the objects of a data set are: class and attribute ids from the records of an instances file.

LXMERT's object prediction (paper section 3.1.2) learns them beside the answers. The class is the record's
category; the attribute is the combination of the record's "attributes" (in made scenes: colour, size and
fill), one class for each combination that occurs.

Shapes: I images, B of them in a batch, O the most objects of any image (trimmed to the batch's own most).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lxmert.data.coco import CocoImage

UNLABELLED = -100
"""The id of padding, and of an object without attributes; losses leave it out."""


@dataclass(frozen=True)
class ObjectLabels:
    """Class and attribute of every object of a data set's images, padded to the image with the most objects.

    Attributes:
        objects: (I, O) int64, class ids.
        attributes: (I, O) int64, attribute ids.
        object_count: number of classes.
        attribute_count: number of attributes; 1 where no record has any.
    """

    objects: Tensor
    attributes: Tensor
    object_count: int
    attribute_count: int

    @classmethod
    def from_images(cls, images: Sequence[CocoImage]) -> "ObjectLabels":
        """Collect the labels of images, one row each in the order given.

        Ids count the categories and the attribute combinations of these images, in sorted order.
        """
        categories = sorted({int(number) for image in images for number in image.category_ids})
        combinations = sorted({key for image in images for key in map(_key, image.attributes) if key})
        object_id = {category: index for index, category in enumerate(categories)}
        attribute_id = {key: index for index, key in enumerate(combinations)}
        shape = (len(images), max(map(len, images), default=0))
        objects = torch.full(shape, UNLABELLED)
        attributes = torch.full(shape, UNLABELLED)
        for row, image in enumerate(images):
            for column, category in enumerate(image.category_ids.tolist()):
                objects[row, column] = object_id[category]
                attributes[row, column] = attribute_id.get(_key(image.attributes[column]), UNLABELLED)
        return cls(objects, attributes, max(len(categories), 1), max(len(combinations), 1))

    def batch(self, rows: Tensor, objects: int) -> dict[str, tuple[Tensor, Tensor]]:
        """The model's `obj_labels` for these rows (B,), cut to so many objects; all weigh the same."""
        weights = torch.ones(len(rows), objects)
        return {
            "obj": (self.objects[rows, :objects], weights),
            "attr": (self.attributes[rows, :objects], weights),
        }


def _key(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={attributes[name]}" for name in sorted(attributes))

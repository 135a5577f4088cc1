"""Which boxes of an annotation file belong to an image file.

Shapes: N boxes of one image.
"""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.image_names import ends_of
from lxmert.data.progress import StartProgress, no_progress
from lxmert.inference.image_list import NamedImage


class AnnotatedBoxes(NamedTuple):
    """The boxes of one image, and the size of the image that they were drawn on."""

    boxes_xyxy_px: np.ndarray  # (N, 4) float32
    size_hw: tuple[int, int] | None  # None where the file does not tell


class BoxesOfImages:
    """The objects' boxes of a COCO instances file, found by an image's path; those without area are left out.

    Args:
        path: the file.
        progress: shows how far it is read.

    Raises:
        DataError: no such file, or it is malformed.
    """

    def __init__(self, path: Path, *, progress: StartProgress = no_progress) -> None:
        self.path = path
        self._by_path: dict[str, AnnotatedBoxes] = {}
        self._by_name: dict[str, AnnotatedBoxes | None] = {}
        for image in read_instances(path, progress=progress).values():
            boxes, name = _annotated(image), PurePosixPath(image.file_name).name
            self._by_path[image.file_name] = boxes
            # Two images of one name in different folders: only the whole path tells which is meant.
            self._by_name[name] = None if name in self._by_name else boxes

    def find(self, image: NamedImage) -> AnnotatedBoxes | None:
        """The boxes of an image, or None where the file does not know it.

        Of the paths in the file, the one counts that agrees with most of the image's, from its end.
        """
        for key in (*ends_of(image.path.as_posix()), image.name):
            if key in self._by_path:
                return self._by_path[key]
        return self._by_name.get(image.path.name)


def _annotated(image: CocoImage) -> AnnotatedBoxes:
    # Converters that know no sizes write 0.
    return AnnotatedBoxes(image.boxes_xyxy_px.numpy(), image.size_hw if min(image.size_hw) > 0 else None)

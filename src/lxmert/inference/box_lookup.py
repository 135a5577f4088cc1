"""The boxes of an image file in an annotation file.

Shapes: N boxes of one image.
"""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.image_names import trailing_paths
from lxmert.data.progress import StartProgress, no_progress
from lxmert.inference.image_list import NamedImage


class AnnotatedBoxes(NamedTuple):
    """The boxes of one image, and the size of the image that they were annotated on."""

    boxes_xyxy_px: np.ndarray  # (N, 4) float32
    size_hw: tuple[int, int] | None  # None if the file does not state it


class BoxLookup:
    """The boxes of a COCO instances file, looked up by an image's path; boxes without area are left out.

    Args:
        path: the file.
        progress: shows the progress of reading.

    Raises:
        DataError: no such file, or it is malformed.
    """

    def __init__(self, path: Path, *, progress: StartProgress = no_progress) -> None:
        self.path = path
        self._by_path: dict[str, AnnotatedBoxes] = {}
        self._by_name: dict[str, AnnotatedBoxes | None] = {}
        for image in read_instances(path, progress=progress).values():
            boxes, name = _to_annotated_boxes(image), PurePosixPath(image.file_name).name
            self._by_path[image.file_name] = boxes
            # For images of the same name in different folders, only the path tells which is meant.
            self._by_name[name] = None if name in self._by_name else boxes

    def find(self, image: NamedImage) -> AnnotatedBoxes | None:
        """Return the boxes of an image, or None if the file does not have it.

        The path in the file that shares the longest end with the image's path is chosen.
        """
        for key in (*trailing_paths(image.path.as_posix()), image.name):
            if key in self._by_path:
                return self._by_path[key]
        return self._by_name.get(image.path.name)


def _to_annotated_boxes(image: CocoImage) -> AnnotatedBoxes:
    # Converters that do not know sizes write 0.
    return AnnotatedBoxes(image.boxes_xyxy_px.numpy(), image.size_hw if min(image.size_hw) > 0 else None)

"""Regions of a regular grid: every image is divided into the same number of equal tiles.

No detector, no boxes: later work showed grid features to be nearly as good, and a grid makes it easy to try
any backbone.

Shapes: R rows, C columns, N = R·C tiles, D features per tile.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lxmert.errors import ConfigurationError, RegionsError
from lxmert.faults import is_int_in_range
from lxmert.vision.extractor import BoxEncoder
from lxmert.vision.given_boxes import encode_given_boxes
from lxmert.vision.images import ImageSource, as_rgb_list
from lxmert.vision.regions import Regions


class RegularGrid:
    """Divides each image into `rows`×`columns` equal tiles, row by row from the top left.

    Args:
        rows: number of rows R.
        columns: number of columns C.
        encoder: makes the features of a tile.

    Raises:
        ConfigurationError: fewer than one row or column.
    """

    needs_boxes = False
    takes_boxes = False

    def __init__(self, rows: int, columns: int, encoder: BoxEncoder) -> None:
        check_grid(rows, columns)
        self.rows = rows
        self.columns = columns
        self.encoder = encoder

    @property
    def identity(self) -> str:
        """For example "regular-grid-7x7/pooled-pixels-8"."""
        return f"regular-grid-{self.rows}x{self.columns}/{self.encoder.identity}"

    @property
    def feature_dim(self) -> int:
        """Number of features D, that of the encoder."""
        return self.encoder.feature_dim

    def __call__(
        self, images: ImageSource | Sequence[ImageSource], boxes_xyxy_px: Sequence[Tensor] | None = None
    ) -> list[Regions]:
        """Divide and encode each image, of any kind that `load_image` reads.

        Raises:
            RegionsError: boxes were given; a grid lays out its own.
        """
        if boxes_xyxy_px is not None:
            raise RegionsError(f"{self.identity} places its own boxes; omit boxes, or use given_boxes")
        return [
            encode_given_boxes(self, image, grid_tiles(self.rows, self.columns, (image.height, image.width)))
            for image in as_rgb_list(images)
        ]

    def to_dict(self) -> dict[str, Any]:
        """`{"kind": "regular_grid", "rows": R, "columns": C, "encoder": …}`."""
        return {
            "kind": "regular_grid",
            "rows": self.rows,
            "columns": self.columns,
            "encoder": self.encoder.to_dict(),
        }


def grid_tiles(rows: int, columns: int, size_hw: tuple[int, int]) -> Tensor:
    """Boxes of the equal tiles of an image, row by row: (R·C, 4) x1, y1, x2, y2 in pixels."""
    down = torch.linspace(0, size_hw[0], rows + 1, dtype=torch.float64).to(torch.float32)
    across = torch.linspace(0, size_hw[1], columns + 1, dtype=torch.float64).to(torch.float32)
    top, left = torch.meshgrid(down[:-1], across[:-1], indexing="ij")  # (R, C)
    bottom, right = torch.meshgrid(down[1:], across[1:], indexing="ij")
    return torch.stack([left, top, right, bottom], dim=-1).reshape(-1, 4)  # (N, 4)


def check_grid(rows: Any, columns: Any) -> None:
    """Check the size of a grid.

    Raises:
        ConfigurationError: rows or columns are not integers of at least 1.
    """
    for name, value in (("rows", rows), ("columns", columns)):
        if not is_int_in_range(value, 1):
            raise ConfigurationError(f"a grid of {value!r} {name}; expected a whole number of at least 1")

"""`BackboneGrid`: grid features from any vision backbone of `transformers`, no detector needed.

The whole picture goes through the backbone once; each cell of its last feature map, or of its patch tokens,
is an object whose box is the cell. Jiang et al. 2020 (arXiv 2001.03615) found such features nearly as good as
a detector's.

Shapes: H and W height and width of the resized picture in pixels, h and w rows and columns of the last map,
R and C rows and columns of the grid, N = R·C objects, T tokens, D features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lxmert.errors import ConfigurationError, RegionsError
from lxmert.vision.encoders import cell_weights
from lxmert.vision.grid import check_grid, grid_tiles
from lxmert.vision.images import ImageSource, as_rgb_list
from lxmert.vision.regions import Regions
from lxmert.vision.vision_model import VisionModel, resize_to_unit_tensor, validate_side

_STRIDES = (4, 8, 16, 32, 64)
"""Picture pixels per token of models that merge patches, such as Swin."""


class BackboneGrid:
    """Cuts a backbone's last feature map into R×C cells, row by row from the top left.

    Args:
        model: a `transformers` vision model or backbone, or the folder or hub name of one.
        rows: rows R of the grid; None for those of the map, and then `columns` is None too.
        columns: columns C of the grid. If R and C do not divide the map, a cell averages the cells of the map
            that it covers, weighted by the area covered.
        size: side S of the square that every picture is resized to, or its (height, width); None for the
            model's `image_size`, else 224.
        mean: red, green, blue means of the normalisation (pixels in 0..1); None for those of the model's
            folder (preprocessor_config.json), else ImageNet's.
        std: the standard deviations, like `mean`.
        weights_hash: the fingerprint that the weights must have; None for any.
        channel_order: "rgb", or "bgr" for a model that expects blue first; None for that of its folder.

    Raises:
        ConfigurationError: rows, columns, size, mean, std or channel order that are not valid.
        WeightsError: the folder or hub name cannot be loaded, or holds other or incomplete weights.
    """

    needs_boxes = False
    takes_boxes = False

    def __init__(
        self,
        model: nn.Module | str | Path,
        rows: int | None = None,
        columns: int | None = None,
        size: int | Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        weights_hash: str | None = None,
        channel_order: str | None = None,
    ) -> None:
        if (rows is None) != (columns is None):
            raise ConfigurationError(f"a grid of {rows} rows and {columns} columns; set both, or neither")
        if rows is not None and columns is not None:
            check_grid(rows, columns)
        self.rows = rows
        self.columns = columns
        self.vision_model = VisionModel(model, mean, std, weights_hash, channel_order)
        self.size_hw = _validate_size(self.vision_model.native_side_px if size is None else size)
        self._feature_dim: int | None = None

    @property
    def identity(self) -> str:
        """Model name, grid, picture size, and hashes of the weights and of the normalisation."""
        grid = "as-is" if self.rows is None else f"{self.rows}x{self.columns}"
        size = "x".join(str(side) for side in self.size_hw)
        return f"backbone-grid-{grid}/{self.vision_model.short_name}-{size}px-{self.vision_model.fingerprint}"

    @property
    def feature_dim(self) -> int:
        """Number of features D, determined on first use by encoding one black picture."""
        if self._feature_dim is None:
            self._feature_dim = int(self._feature_map(torch.zeros(3, *self.size_hw)).shape[0])
        return self._feature_dim

    def __call__(
        self, images: ImageSource | Sequence[ImageSource], boxes_xyxy_px: Sequence[Tensor] | None = None
    ) -> list[Regions]:
        """Encode each image, of any kind that `load_image` reads, separately.

        Raises:
            RegionsError: boxes were given; a grid lays out its own.
            ConfigurationError: the model does not accept pictures of this size, or returns no map.
        """
        if boxes_xyxy_px is not None:
            raise RegionsError(f"{self.identity} places its own boxes; omit boxes, or use given_boxes")
        return [self._encode(image) for image in as_rgb_list(images)]

    def to(self, device: torch.device | str) -> "BackboneGrid":
        """Move the model to `device`; returns itself."""
        self.vision_model.to(device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """`{"kind": "backbone_grid", "model": …, "rows": R, "columns": C, …}`, the weights' hash included.

        Raises:
            ConfigurationError: the model was made in memory and has no name.
        """
        grid = {"rows": self.rows, "columns": self.columns, "size": list(self.size_hw)}
        return {"kind": "backbone_grid", **grid, **self.vision_model.to_dict()}

    def _encode(self, image: Image.Image) -> Regions:
        size_hw = (image.height, image.width)
        feature_map = self._feature_map(resize_to_unit_tensor(image, self.size_hw))  # (D, h, w)
        rows, columns = self.rows or feature_map.shape[1], self.columns or feature_map.shape[2]
        return Regions(
            boxes_xyxy_px=grid_tiles(rows, columns, size_hw),
            features=_pool_to_grid(feature_map, rows, columns).flatten(1).T.contiguous(),  # (N, D)
            size_hw=size_hw,
            extractor=self.identity,
        )

    def _feature_map(self, pixels: Tensor) -> Tensor:
        """Pixels (3, H, W) in 0..1 -> the last feature map (D, h, w), float32 on the CPU."""
        # A clone, because tensors made in inference mode cannot be used in training later.
        last = self.vision_model(pixels[None])[0].float().cpu().clone()
        if last.ndim == 3:
            return last
        config = getattr(self.vision_model.model, "config", None)
        height, width, skipped = _token_grid(len(last), self.size_hw, config)
        return last[skipped:].T.reshape(-1, height, width)


def _validate_size(size: Any) -> tuple[int, int]:
    if isinstance(size, (list, tuple)):
        if len(size) != 2:
            raise ConfigurationError(f"picture size is {size!r}; expected one side, or height and width")
        return validate_side(size[0]), validate_side(size[1])
    return (validate_side(size),) * 2


def _pool_to_grid(feature_map: Tensor, rows: int, columns: int) -> Tensor:
    """The mean of the map under each cell of a grid of equal cells, (D, h, w) -> (D, R, C)."""
    if feature_map.shape[1:] == (rows, columns):
        return feature_map
    height, width = feature_map.shape[1:]
    down = cell_weights(torch.zeros(1).double(), torch.full((1,), height).double(), rows, height)[0]  # (R, h)
    across = cell_weights(torch.zeros(1).double(), torch.full((1,), width).double(), columns, width)[0]
    return down @ feature_map @ across.T


def _token_grid(tokens: int, size_hw: tuple[int, int], config: Any) -> tuple[int, int, int]:
    """Return the rows and columns of a token sequence, and the number of leading tokens that are not patches.

    Class, distillation and register tokens lead the sequence in every model of `transformers`.
    """
    patch = getattr(config, "patch_size", None)
    patch_hw = tuple(patch) if isinstance(patch, (list, tuple)) else (patch, patch)
    registers = getattr(config, "num_register_tokens", 0) or 0
    if all(isinstance(side, int) and side > 0 for side in patch_hw):
        height, width = size_hw[0] // patch_hw[0], size_hw[1] // patch_hw[1]
        if tokens - height * width in {0, 1, 2, 1 + registers}:
            return height, width, tokens - height * width
    for stride in _STRIDES:
        height, width = (-(-side // stride) for side in size_hw)
        if height * width == tokens:
            return height, width, 0
    raise ConfigurationError(
        f"{getattr(config, 'model_type', 'the model')} returns {tokens} tokens for a picture of "
        f"{size_hw[1]}×{size_hw[0]} pixels (width×height), which do not form a grid; try another size or "
        "model"
    )

"""`Regions`: the objects of one image, the one interface between vision and everything else.

Boxes, features and, if the extractor provides them, object and attribute labels. Checked once on
construction; receivers of `Regions` need not check them again.

Shapes: N objects (varies from image to image, 0 allowed), D features per object.
"""

import copy
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lxmert.atomic_files import follow_umask
from lxmert.errors import RegionsError
from lxmert.vision.geometry import validate_boxes

_FORMAT = "lxmert-regions-1"
_LARGEST_SIDE_PX = 2**32 - 1
"""The largest that a feature store can represent."""

_TENSORS = (
    "boxes_xyxy_px",
    "features",
    "object_ids",
    "object_scores",
    "attribute_ids",
    "attribute_scores",
)


@dataclass(frozen=True, eq=False)
class Regions:
    """The objects of one image.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, x1, y1, x2, y2 in pixels of the original image; x1 < x2, y1 < y2.
            A box that exceeds the image by at most one pixel is clamped; by more is an error.
        features: (N, D) float32, finite.
        size_hw: height and width of the original image in pixels.
        extractor: identity of the extractor, for example "given-boxes/pooled-pixels-10".
        object_ids: (N,) int64 class of each object, or None.
        object_scores: (N,) float32 in 0..1, or None.
        attribute_ids: (N,) int64, or None.
        attribute_scores: (N,) float32 in 0..1, or None.

    Raises:
        RegionsError: a shape, dtype or value breaks the rules above; the message names the row.
    """

    boxes_xyxy_px: Tensor
    features: Tensor
    size_hw: tuple[int, int]
    extractor: str
    object_ids: Tensor | None = None
    object_scores: Tensor | None = None
    attribute_ids: Tensor | None = None
    attribute_scores: Tensor | None = None

    def __post_init__(self) -> None:
        _set_frozen_field(self, "size_hw", _validate_size(self.size_hw))
        if not isinstance(self.extractor, str) or not self.extractor:
            raise RegionsError(
                f"extractor is {self.extractor!r}; expected the name of what made the features"
            )
        _set_frozen_field(self, "boxes_xyxy_px", validate_boxes(self.boxes_xyxy_px, self.size_hw))
        _set_frozen_field(self, "features", _validate_features(self.features, len(self.boxes_xyxy_px)))
        for name in ("object_ids", "attribute_ids"):
            _set_frozen_field(self, name, _validate_ids(getattr(self, name), name, len(self)))
        for name in ("object_scores", "attribute_scores"):
            _set_frozen_field(self, name, _validate_scores(getattr(self, name), name, len(self)))
        devices = {str(tensor.device) for tensor in self._tensors().values()}
        if len(devices) > 1:
            raise RegionsError(f"tensors are on {', '.join(sorted(devices))}; move all to one device")

    @classmethod
    def from_validated(cls, **values: Any) -> Self:
        """Create regions from fields that were validated before, without checking every number again.

        For readers of files that only ever held validated regions. New values go through the constructor.
        """
        regions = cls.__new__(cls)
        regions.__dict__.update(values)
        return regions

    def __len__(self) -> int:
        """Number of objects N."""
        return len(self.boxes_xyxy_px)

    @property
    def feature_dim(self) -> int:
        """Number of features per object D."""
        return int(self.features.shape[1])

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.features.device

    def boxes_xyxy_unit(self) -> Tensor:
        """Return boxes as fractions of the image's width and height, (N, 4) float32 in 0..1."""
        height, width = self.size_hw
        scale = self.boxes_xyxy_px.new_tensor([width, height, width, height])
        return (self.boxes_xyxy_px / scale).clamp(0.0, 1.0)

    def select(self, indices: Tensor | list[int] | slice) -> "Regions":
        """Return the selected objects in the given order, as a new `Regions`.

        Args:
            indices: int64 positions, a (N,) boolean mask, or a slice.

        Raises:
            RegionsError: a position beyond the last object, or a mask of another length.
        """
        if isinstance(indices, slice):
            chosen = torch.arange(len(self))[indices]
        else:
            chosen = torch.as_tensor(indices)
            chosen = chosen.long() if chosen.numel() == 0 and chosen.dtype != torch.bool else chosen
        try:
            selected = {name: tensor[chosen.to(tensor.device)] for name, tensor in self._tensors().items()}
        except (IndexError, RuntimeError) as error:
            raise RegionsError(f"cannot select from {len(self)} objects: {error}") from error
        return self._replace_tensors(selected)

    def to(self, device: torch.device | str) -> "Regions":
        """Return a copy with all tensors on `device`."""
        return self._replace_tensors({name: tensor.to(device) for name, tensor in self._tensors().items()})

    def equals(self, other: object, tolerance: float = 0.0) -> bool:
        """Whether `other` holds the same objects, floats within an absolute `tolerance`."""
        if not isinstance(other, Regions):
            return False
        if (self.size_hw, self.extractor) != (other.size_hw, other.extractor):
            return False
        mine, theirs = self._tensors(), other._tensors()
        return mine.keys() == theirs.keys() and all(
            mine[name].shape == theirs[name].shape
            and torch.allclose(mine[name].cpu(), theirs[name].cpu(), rtol=0.0, atol=tolerance)
            for name in mine
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, with image size and extractor in its metadata."""
        from safetensors.torch import save_file

        # Clones, because the format refuses tensors that share memory.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._tensors().items()
        }
        metadata = {
            "format": _FORMAT,
            "size_hw": json.dumps(self.size_hw),
            "extractor": self.extractor,
        }
        save_file(tensors, str(path), metadata=metadata)
        follow_umask(Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by `save`.

        Raises:
            RegionsError: no such file, not a safetensors file, or not one that `save` wrote.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise RegionsError(f"{path}: cannot be read as regions ({error})") from error
        if metadata.get("format") != _FORMAT or not {"boxes_xyxy_px", "features"} <= tensors.keys():
            raise RegionsError(f"{path}: contains no regions; expected a file written by Regions.save")
        unknown = tensors.keys() - set(_TENSORS)
        if unknown:
            raise RegionsError(f"{path}: unknown entries {', '.join(sorted(unknown))}")
        missing = {"size_hw", "extractor"} - metadata.keys()
        if missing:
            raise RegionsError(
                f"{path}: lacks {', '.join(sorted(missing))}; write it again with Regions.save"
            )
        try:
            size_hw = json.loads(metadata["size_hw"])
        except (ValueError, RecursionError) as error:
            raise RegionsError(f"{path}: size_hw is not JSON ({error}); write it again") from error
        return cls(**tensors, size_hw=size_hw, extractor=metadata["extractor"])

    def __repr__(self) -> str:
        labels = [
            field.name
            for field in fields(self)
            if field.name.startswith(("object", "attribute")) and getattr(self, field.name) is not None
        ]
        extra = f", {', '.join(labels)}" if labels else ""
        return (
            f"Regions({len(self)} objects, {self.feature_dim} features, size_hw={self.size_hw}, "
            f"extractor={self.extractor!r}{extra})"
        )

    def _replace_tensors(self, tensors: dict[str, Tensor]) -> "Regions":
        # Selecting and moving rows keeps them valid; checking again would synchronise a GPU.
        changed = copy.copy(self)
        for name, tensor in tensors.items():
            _set_frozen_field(changed, name, tensor)
        return changed

    def _tensors(self) -> dict[str, Tensor]:
        named = {name: getattr(self, name) for name in _TENSORS}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def _set_frozen_field(regions: Regions, name: str, value: Any) -> None:
    # The dataclass is frozen for its users; construction itself stores the checked values.
    object.__setattr__(regions, name, value)


def _validate_size(size_hw: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in size_hw)
    except (TypeError, ValueError, OverflowError) as error:
        raise RegionsError(f"size_hw is {size_hw!r}; expected (height, width) in pixels") from error
    if height < 1 or width < 1:
        raise RegionsError(f"size_hw is {size_hw!r}; expected a height and a width of at least one pixel")
    if max(height, width) > _LARGEST_SIDE_PX:
        raise RegionsError(f"size_hw is more than {_LARGEST_SIDE_PX:,} pixels; no picture is that large")
    return height, width


def _validate_features(features: Any, objects: int) -> Tensor:
    if not isinstance(features, Tensor) or not features.is_floating_point():
        kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise RegionsError(f"features are {kind}; expected a float32 tensor of shape (N, D)")
    if features.ndim != 2 or features.shape[0] != objects or features.shape[1] < 1:
        raise RegionsError(
            f"features have shape {tuple(features.shape)}; expected ({objects}, D), one row for each box"
        )
    converted = features.to(torch.float32)
    finite = torch.isfinite(converted)
    if not finite.all():
        row, column = (int(position) for position in (~finite).nonzero()[0])
        value = converted[row, column].item()
        raise RegionsError(
            f"features of box {row} contain {value} at column {column}; expected finite numbers, check "
            f"what made them ({int((~finite).sum())} such values in total)"
        )
    return converted


def _validate_ids(ids: Any, name: str, objects: int) -> Tensor | None:
    if ids is None:
        return None
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise RegionsError(f"{name} are {kind}; expected an int64 tensor of shape ({objects},)")
    if ids.shape != (objects,):
        raise RegionsError(f"{name} have shape {tuple(ids.shape)}; expected ({objects},), one for each box")
    return ids.to(torch.int64)


def _validate_scores(scores: Any, name: str, objects: int) -> Tensor | None:
    if scores is None:
        return None
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise RegionsError(f"{name} are {kind}; expected a float32 tensor of shape ({objects},)")
    if scores.shape != (objects,):
        raise RegionsError(
            f"{name} have shape {tuple(scores.shape)}; expected ({objects},), one for each box"
        )
    valid = (scores >= 0) & (scores <= 1)
    if not valid.all():
        row = int((~valid).nonzero()[0])
        raise RegionsError(f"{name} of box {row} is {scores[row].item():g}; expected a number in 0..1")
    return scores.to(torch.float32)

"""`VisionModel`: any vision model or backbone of `transformers` with its normalisation.

Both the encoder of crops and the grid of a whole image use it.
Pooler layers are deliberately ignored: many published checkpoints lack them (such as every ViT classifier),
and `transformers` then initialises them at random. Those are removed, so that the weights have the same
fingerprint at every load.

Shapes: n images, S side in pixels, T tokens, D features, h and w rows and columns of the last feature map.
"""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lxmert.cpu import fast_linear_layers
from lxmert.errors import ConfigurationError, WeightsError, first_line
from lxmert.faults import is_int_in_range
from lxmert.vision.external_models import (
    load_config,
    require_model,
    require_name,
    resolve_model_source,
    translate_forward_errors,
    translate_loading_errors,
)
from lxmert.vision.normalisation import Normalisation, load_normalisation
from lxmert.weights.fingerprint import check_weights_hash, hash_weights
from lxmert.weights.hub import hub_folder, is_hub_name
from lxmert.weights.report import BATCH_COUNTER, load_with_report

DEFAULT_SIDE_PX = 224

_VISION_SUBMODULE = "vision_model"
_POOLER = "pooler"
_RANDOM_MASKING_ARGUMENT = "noise"
"""The argument by which masked autoencoders choose their visible patches, drawn at random by default."""


class VisionModel:
    """A vision model with the normalisation of its input.

    Args:
        model: a `transformers` vision model or backbone, or the folder or hub name of one.
        mean: red, green, blue means of the normalisation (pixels in 0..1); None for those of the folder that
            the model is or was loaded from (preprocessor_config.json), else ImageNet's.
        std: the standard deviations, like `mean`.
        weights_hash: the fingerprint that the weights must have; None for any.
        channel_order: "rgb", or "bgr" for a model that expects blue first; None for that of its folder.

    Raises:
        ConfigurationError: not a model, one that sees random parts of a picture, mean or std that are not
            three numbers, another channel order, or an image processor in the model's folder that does more
            than normalise.
        WeightsError: the folder or hub name cannot be loaded, or holds other or incomplete weights.
    """

    def __init__(
        self,
        model: nn.Module | str | Path,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        weights_hash: str | None = None,
        channel_order: str | None = None,
    ) -> None:
        is_complete = None not in (mean, std, channel_order)
        if isinstance(model, (str, Path)):
            self.name: str | None = str(model)
            model_path: str | None = resolve_model_source(self.name)
            self.model = _load_model(self.name, str(model_path))
        else:
            self.model = require_model(model)
            self.name = getattr(getattr(model, "config", None), "name_or_path", None) or None
            model_path = None if is_complete or self.name is None else _processor_config_folder(self.name)
        # Of a dual encoder such as CLIP only the vision part is used.
        self.model = getattr(self.model, _VISION_SUBMODULE, self.model).eval()
        self._reject_random_masking()
        published = Normalisation() if model_path is None or is_complete else load_normalisation(model_path)
        self.normalisation = published.with_overrides(mean, std, channel_order)
        self.weights_hash = hash_weights(self.model)
        check_weights_hash(self.name, self.weights_hash, weights_hash)

    @property
    def short_name(self) -> str:
        """The last part of the folder or hub name, else the model's class."""
        return Path(self.name).name if self.name else type(self.model).__name__

    @property
    def fingerprint(self) -> str:
        """Hashes of the weights and of the normalisation."""
        return f"{self.weights_hash}-{self.normalisation.fingerprint}"

    @property
    def native_side_px(self) -> int:
        """Side of the square images that the model was trained on."""
        side = getattr(getattr(self.model, "config", None), "image_size", None)
        if isinstance(side, (list, tuple)):
            side = side[0]
        return int(side) if side is not None else DEFAULT_SIDE_PX

    def to(self, device: torch.device | str) -> "VisionModel":
        """Move the model to `device`; returns itself."""
        self.model.to(device)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return name, normalisation and fingerprint: the arguments that make an equal one.

        Raises:
            ConfigurationError: the model was made in memory and has no name.
        """
        return {
            "model": require_name(self.name, self.model),
            **self.normalisation.to_dict(),
            "weights_hash": self.weights_hash,
        }

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the last feature map (n, D, h, w) or tokens (n, T, D) of pixels (n, 3, H, W) in 0..1.

        Raises:
            ConfigurationError: the model does not accept images of this size.
        """
        normalised = self.normalisation(pixels)
        parameter = next(self.model.parameters())
        size_hw = (pixels.shape[2], pixels.shape[3])
        inputs: dict[str, Any] = {"pixel_values": normalised.to(parameter.device, parameter.dtype)}
        if size_hw != (self.native_side_px,) * 2 and self._can_interpolate_positions():
            inputs["interpolate_pos_encoding"] = True
        with translate_forward_errors(self.model, size_hw), fast_linear_layers(self.model):
            outputs = self.model(**inputs)
        maps = getattr(outputs, "feature_maps", None)
        return maps[-1] if maps else outputs.last_hidden_state

    def _reject_random_masking(self) -> None:
        if _RANDOM_MASKING_ARGUMENT in inspect.signature(self.model.forward).parameters:
            raise ConfigurationError(
                f"{type(self.model).__name__} hides patches at random, so its features differ from call "
                "to call; save its weights as a model that sees all patches (those of a ViTMAEModel with "
                "ViTModel.from_pretrained(…).save_pretrained(…)), and use that model"
            )

    def _can_interpolate_positions(self) -> bool:
        return "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters


def resize_to_unit_tensor(image: Image.Image, size_hw: tuple[int, int], box: Tensor | None = None) -> Tensor:
    """Resize an RGB image, or the part inside a box (4,), by Pillow to (height, width): (3, H, W) in 0..1.

    The corners of the box, x1, y1, x2, y2, need not lie on whole pixels.
    """
    corners = None if box is None else tuple(box.tolist())
    resized = image.resize((size_hw[1], size_hw[0]), Image.Resampling.BICUBIC, box=corners)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(torch.float32).div_(255.0)


def validate_side(size: Any) -> int:
    """Return a side in pixels, after checking it.

    Raises:
        ConfigurationError: it is not an integer of at least 1.
    """
    if not is_int_in_range(size, 1):
        raise ConfigurationError(f"image size is {size!r}; expected a whole number of pixels of at least 1")
    return size


def _processor_config_folder(name: str) -> str:
    """Return the folder with the settings of a model that was loaded before.

    Raises:
        ConfigurationError: it cannot be reached.
    """
    reason = "no such folder"
    if Path(name).is_dir():
        return name
    if is_hub_name(name):
        try:
            return str(hub_folder(name, weights=False))
        except WeightsError as error:
            reason = first_line(error)
    raise ConfigurationError(
        f"the model was loaded from {name}, where its normalisation cannot be found ({reason}); pass "
        "mean, std and channel_order"
    )


def _load_model(name: str, model_path: str) -> nn.Module:
    """Load the model of a folder, without the poolers that its checkpoint lacks.

    Raises:
        WeightsError: no vision model there.
        IncompleteWeightsError: the checkpoint leaves more than poolers at random values.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING, MODEL_MAPPING

    config = load_config(name, model_path, "vision model")
    is_backbone = any("Backbone" in architecture for architecture in config.architectures or ())
    # Not AutoBackbone: it asks the hub even about local folders, and mistakes an offline hub for timm.
    kind = (MODEL_FOR_BACKBONE_MAPPING if is_backbone else MODEL_MAPPING).get(type(config), None)
    is_model = isinstance(kind, type) and issubclass(kind, nn.Module)
    if not is_model or "pixel_values" not in inspect.signature(kind.forward).parameters:
        raise WeightsError(
            f"{name}: a model of type {config.model_type!r}, not a vision model of transformers"
        )
    model: nn.Module
    with translate_loading_errors(name, "vision model"):
        model, report = load_with_report(kind, model_path, config=config)
    for tensor_name in report.unfilled:
        if (pooler := _pooler_path(tensor_name)) is not None:
            model.set_submodule(pooler, nn.Identity())
    prefix = f"{_VISION_SUBMODULE}." if hasattr(model, _VISION_SUBMODULE) else ""

    def is_required(tensor_name: str) -> bool:
        return (
            tensor_name.startswith(prefix)
            and not tensor_name.endswith(BATCH_COUNTER)
            and _pooler_path(tensor_name) is None
        )

    replace(
        report,
        missing={name: shape for name, shape in report.missing.items() if is_required(name)},
        reshaped={name: shapes for name, shapes in report.reshaped.items() if is_required(name)},
    ).require_complete()
    return model


def _pooler_path(tensor: str) -> str | None:
    """Return the pooler that a tensor belongs to, "pooler" for "pooler.dense.weight"; None without one."""
    parts = tensor.split(".")
    return ".".join(parts[: parts.index(_POOLER) + 1]) if _POOLER in parts else None

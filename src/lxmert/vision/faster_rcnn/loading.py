"""Strict loading of detectors: all tensors must be present with the right shape, and no others.

Two layouts are supported, in a folder or on the hub: the published one (config.yaml, pytorch_model.bin) and
that of `save_pretrained` (config.json, model.safetensors). If both configurations exist, the weights file
decides.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from transformers.utils import cached_file, logging

from lxmert.errors import LxmertError, WeightsError, first_line
from lxmert.vision.faster_rcnn.anchors import cell_anchors
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.published_config import config_from_published
from lxmert.weights.files import CONFIG_NAME, PYTORCH_NAME, SAFETENSORS_NAME, read_folder
from lxmert.weights.hub import HUB_ARGUMENTS, hub_folder, is_hub_name
from lxmert.weights.report import BATCH_COUNTER, LoadReport, quiet_transformers
from lxmert.weights.shapes import shapes_of
from lxmert.yaml_files import parse_yaml

if TYPE_CHECKING:
    from lxmert.vision.faster_rcnn.modeling import FasterRcnn

logger = logging.get_logger(__name__)

DetectorT = TypeVar("DetectorT", bound="FasterRcnn")

PUBLISHED_CONFIG_NAME = "config.yaml"

_ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
_ANCHOR_TOLERANCE_PX = 1e-3


def load_detector(
    detector_class: type[DetectorT],
    load_pretrained: Callable[..., Any],
    name_or_folder: str | os.PathLike[str],
    *args: Any,
    **kwargs: Any,
) -> DetectorT:
    """Load a detector in either layout.

    Args:
        detector_class: class of the detector.
        load_pretrained: `PreTrainedModel.from_pretrained`, bound to the class.
        name_or_folder: a folder or a hub name.
        *args: arguments of `load_pretrained`.
        **kwargs: keyword arguments of `load_pretrained`; the published layout uses `dtype`, `config` and
            those of the hub, and ignores the others.

    Raises:
        WeightsError: no detector there, or weights that are missing, unexpected or of another shape.
    """
    name = os.fspath(name_or_folder)
    hub = {key: kwargs[key] for key in HUB_ARGUMENTS if key in kwargs}
    if not hub and not Path(name).is_dir() and is_hub_name(name):
        name = str(hub_folder(name))
    if kwargs.get("state_dict") is None and (folder := _published_folder(name, hub)) is not None:
        return _load_published_layout(detector_class, folder, kwargs.get("config"), kwargs.get("dtype"))
    return _load_pretrained_layout(detector_class, load_pretrained, name, *args, **kwargs)


def is_published_layout(has_file: Callable[[str], bool]) -> bool:
    """Whether files are in the layout of the published detector rather than in that of `save_pretrained`.

    Args:
        has_file: returns whether a file of a given name exists.
    """
    if not has_file(PUBLISHED_CONFIG_NAME):
        return False
    # A stray config.json may exist, but `save_pretrained` writes no pytorch_model.bin.
    return not has_file(CONFIG_NAME) or (has_file(PYTORCH_NAME) and not has_file(SAFETENSORS_NAME))


def _published_folder(name: str, hub: Mapping[str, Any]) -> Path | None:
    """Return the folder of a detector in the published layout, downloaded if necessary; None for our layout.

    Raises:
        WeightsError: no detector in either layout.
    """
    if is_published_layout(lambda file: _file(name, file, hub) is not None):
        weights = _file(name, PYTORCH_NAME, hub) or _file(name, SAFETENSORS_NAME, hub)
        if weights is not None:
            return Path(weights).parent
    elif (config := _file(name, CONFIG_NAME, hub)) is not None:
        _reject_other_model_type(name, Path(config))
        return None
    raise WeightsError(
        f"{name}: no detector here; expected {CONFIG_NAME} with {SAFETENSORS_NAME}, or the published "
        f"{PUBLISHED_CONFIG_NAME} with {PYTORCH_NAME}"
    )


def _reject_other_model_type(name: str, config: Path) -> None:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # The loader reports what is wrong with it.
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind not in (None, FasterRcnnConfig.model_type):
        raise WeightsError(f"{name}: a model of type {kind!r}, not a Faster R-CNN of lxmert")


def check_tensors(model: "FasterRcnn", tensors: Mapping[str, Tensor], source: str) -> None:
    """Check that a state dict is exactly this model's, except for counters of training batches.

    Raises:
        WeightsError: naming what is missing, unexpected or of another shape.
    """
    kept = [
        {name: shape for name, shape in shapes_of(either).items() if not name.endswith(BATCH_COUNTER)}
        for either in (model.state_dict(), tensors)
    ]
    report = LoadReport.compare(*kept, model=type(model).__name__, source=source)
    if not report.is_complete or report.unexpected:
        raise WeightsError(f"{report.summary()}; these are not the weights of this configuration")


def _load_pretrained_layout(
    detector_class: type[DetectorT], load_pretrained: Callable[..., Any], name: str, *args: Any, **kwargs: Any
) -> DetectorT:
    want_info = kwargs.pop("output_loading_info", False)
    try:
        with quiet_transformers():
            model, info = load_pretrained(
                name, *args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
            )
    except (LxmertError, TypeError, ValueError, ImportError):
        raise
    except Exception as error:  # Damaged files raise errors of many types.
        raise WeightsError(f"{name}: cannot load the detector ({first_line(error)})") from error
    faults = [
        f"{len(names)} {what} ({', '.join(sorted(names)[:3])})"
        for what, names in (
            ("missing", {key for key in info["missing_keys"] if not key.endswith(BATCH_COUNTER)}),
            ("left over", set(info["unexpected_keys"])),
            ("of another shape", {key for key, *_ in info["mismatched_keys"]}),
        )
        if names
    ]
    if faults:
        raise WeightsError(
            f"{name}: tensors {', '.join(faults)}; these are not the weights of its config.json"
        )
    return (model, info) if want_info else model  # type: ignore[return-value]


def _load_published_layout(
    detector_class: type[DetectorT], folder: Path, config: Any, dtype: Any
) -> DetectorT:
    if config is None:
        config = config_from_published(_read_yaml(folder / PUBLISHED_CONFIG_NAME))
    tensors = read_folder(folder)
    with torch.device("meta"):
        model = detector_class(config)
    check_tensors(model, tensors, str(folder))
    # Counters may be missing or have an extra dimension; they are reset.
    counters = {
        key: torch.zeros((), dtype=torch.int64) for key in model.state_dict() if key.endswith(BATCH_COUNTER)
    }
    model.load_state_dict({**tensors, **counters}, assign=True)
    expected = cell_anchors(config.anchor_sizes_px, config.anchor_ratios)
    if (difference := float((tensors[_ANCHORS].float() - expected).abs().max())) > _ANCHOR_TOLERANCE_PX:
        logger.warning(
            "%s: the stored anchors are used; they differ from the configuration's by up to %g pixels",
            folder,
            difference,
        )
    if isinstance(dtype, str):
        dtype = None if dtype == "auto" else getattr(torch, dtype)
    return model.to(dtype or torch.float32).eval()


def _file(name: str, file: str, hub: Mapping[str, Any]) -> str | None:
    try:
        path: str | None = cached_file(name, file, _raise_exceptions_for_missing_entries=False, **hub)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{name}: no such folder, and not found on the hub ({first_line(error)})"
        ) from error
    return path


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as YAML ({first_line(error)})") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: contains no settings; expected sections such as model and roi_heads")
    return content

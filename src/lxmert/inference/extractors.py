"""Extractors by name: the embedded one, a folder, a file, or a hub name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lxmert.devices import resolve_device
from lxmert.errors import ConfigurationError, WeightsError
from lxmert.vision.build import build_extractor
from lxmert.vision.extraction import move_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.faster_rcnn.extractor import EMBEDDED_DETECTOR
from lxmert.vision.faster_rcnn.loading import PUBLISHED_CONFIG_NAME, is_published_layout
from lxmert.vision.saved_extractor import from_stored_model_paths
from lxmert.weights.files import DETECTOR_MODEL_TYPE, read_config_file
from lxmert.weights.hub import hub_folder, is_hub_name
from lxmert.weights.published import detector_spec, published_detector, published_model
from lxmert.yaml_files import parse_yaml

_PROCESSOR_FILE = "processor_config.json"
_CONFIG_FILE = "config.json"
_LXMERT_MODEL_TYPE = "lxmert"
_DESCRIPTION_EXAMPLE = '{"kind": "faster_rcnn", "detector": "scenes"}'


def load_extractor(name: str, *, device: str | torch.device | None = None) -> RegionExtractor:
    """Make the extractor of a name.

    Args:
        name: "scenes" (the embedded detector); a folder or hub name of a detector, ours or a DETR-like one of
            `transformers`, or of an LXMERT model whose processor has an extractor; or a JSON or YAML file
            with the description that `to_dict` of any extractor returns, or that JSON itself.
        device: where its network runs; the GPU if there is one, else the CPU.

    Raises:
        WeightsError: nothing of this name, nothing that finds objects, or a file of it cannot be read.
        ConfigurationError: a malformed description, or no such device.
    """
    target = resolve_device(device)
    extractor = build_extractor(extractor_spec(name))
    move_extractor(extractor, target)
    return extractor


def extractor_spec(name: str) -> dict[str, Any]:
    """Return the spec of the extractor of a name, for `build_extractor`.

    Args:
        name: see `load_extractor`.
    """
    path = Path(name)
    if name == EMBEDDED_DETECTOR or published_detector(name) is not None:
        return detector_spec(name)
    if name.lstrip().startswith("{") or path.is_file():
        return read_description(name)
    if (known := published_model(name)) is not None:
        return known.detector.to_dict()
    folder = path if name and path.is_dir() else _download_folder(name)
    extractor = (
        read_config_file(folder / _PROCESSOR_FILE).get("extractor")
        if (folder / _PROCESSOR_FILE).is_file()
        else None
    )
    if isinstance(extractor, Mapping):
        return from_stored_model_paths(extractor, folder)
    if is_published_layout(lambda file: (folder / file).is_file()):
        return detector_spec(name)
    if not (folder / _CONFIG_FILE).is_file():
        raise WeightsError(
            f"{name}: neither a detector nor a model with an extractor; it has no {_CONFIG_FILE}"
        )
    kind = read_config_file(folder / _CONFIG_FILE).get("model_type")
    # The weights of a repository, which would show that its config.json is misplaced, are not fetched yet.
    if kind == DETECTOR_MODEL_TYPE or (kind is None and (folder / PUBLISHED_CONFIG_NAME).is_file()):
        return detector_spec(name)
    if kind == _LXMERT_MODEL_TYPE:
        raise WeightsError(
            f"{name}: this model's processor has no extractor, so it cannot process images; use a detector"
        )
    return {"kind": "detr", "model": name}


def read_description(text: str) -> dict[str, Any]:
    """Read the description of an extractor from a JSON or YAML file, or from JSON itself.

    Raises:
        ConfigurationError: no such file, neither JSON nor YAML, or not a mapping.
    """
    try:
        # JSON is YAML, so one parser reads both.
        content = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
        spec = parse_yaml(content)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{text}: no such file; expected a JSON or YAML file, or JSON text"
        ) from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{text}: cannot be read as JSON or YAML ({reason})") from error
    if not isinstance(spec, dict):
        raise ConfigurationError(f"{text}: expected a mapping such as {_DESCRIPTION_EXAMPLE}")
    return spec


def _download_folder(name: str) -> Path:
    if not is_hub_name(name) or name.count("/") != 1:
        raise WeightsError(
            f"unknown detector {name!r}: expected {EMBEDDED_DETECTOR!r} (the embedded one), a folder or "
            "file, or a hub name 'owner/name'"
        )
    return hub_folder(name, weights=False)

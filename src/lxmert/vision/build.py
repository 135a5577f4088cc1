"""Extractors and encoders from their descriptions: the inverse of `to_dict()`, used by saved processors.

A new kind of extractor adds one line to `_EXTRACTORS`. Classes are listed by name and imported on demand:
given boxes need neither the detectors nor `transformers`.
"""

import inspect
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from lxmert.errors import ConfigurationError
from lxmert.vision.extractor import BoxEncoder, RegionExtractor

_ENCODERS = {
    "pooled_pixels": "lxmert.vision.encoders:PooledPixels",
    "backbone": "lxmert.vision.backbone_encoder:BackboneEncoder",
}
_EXTRACTORS = {
    "given_boxes": "lxmert.vision.given_boxes:GivenBoxes",
    "regular_grid": "lxmert.vision.grid:RegularGrid",
    "backbone_grid": "lxmert.vision.backbone_grid:BackboneGrid",
    "detr": "lxmert.vision.detr:TransformersDetector",
    "faster_rcnn": "lxmert.vision.faster_rcnn.extractor:FasterRcnnExtractor",
}


def build_extractor(spec: Mapping[str, Any]) -> RegionExtractor:
    """Make the extractor that `spec` describes.

    Args:
        spec: for example `{"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 10}}`.

    Raises:
        ConfigurationError: unknown kind, or settings that are unknown, missing or wrong.
    """
    extractor: RegionExtractor = _build(spec, _EXTRACTORS, "extractor")
    return extractor


def check_spec(spec: Mapping[str, Any]) -> None:
    """Check a spec as far as possible without making the extractor.

    Raises:
        ConfigurationError: unknown kind, or settings that are unknown or missing.
    """
    _resolve_class(spec, _EXTRACTORS, "extractor")


def needs_boxes(spec: Mapping[str, Any]) -> bool:
    """Whether the extractor of a spec only describes given boxes; without making it.

    Raises:
        ConfigurationError: unknown kind, or settings that are unknown or missing.
    """
    component_class, _ = _resolve_class(spec, _EXTRACTORS, "extractor")
    return bool(component_class.needs_boxes)


def build_encoder(spec: Mapping[str, Any]) -> BoxEncoder:
    """Make the box encoder that `spec` describes; see `build_extractor`."""
    encoder: BoxEncoder = _build(spec, _ENCODERS, "encoder")
    return encoder


def _build(spec: Any, classes: Mapping[str, str], what: str) -> Any:
    component_class, settings = _resolve_class(spec, classes, what)
    if "encoder" in settings:
        settings["encoder"] = build_encoder(settings["encoder"])
    return component_class(**settings)


def _resolve_class(spec: Any, classes: Mapping[str, str], what: str) -> tuple[Any, dict[str, Any]]:
    """Return the class that a spec names, and the arguments to call it with."""
    if not isinstance(spec, Mapping):
        raise ConfigurationError(f"the {what} is {spec!r}; expected a mapping with a `kind`")
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in classes:
        raise ConfigurationError(
            f"unknown kind of {what} {kind!r}; expected one of {', '.join(sorted(classes))}"
        )
    component_class = resolve_name(classes[kind])
    parameters = inspect.signature(component_class).parameters
    unknown = sorted(settings.keys() - parameters.keys(), key=str)
    missing = sorted(
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in settings
    )
    if unknown or missing:
        faults = [f"unknown {name!r}" for name in unknown] + [f"missing {name!r}" for name in missing]
        raise ConfigurationError(f"{what} {kind!r}: {', '.join(faults)}; it takes {', '.join(parameters)}")
    return component_class, settings

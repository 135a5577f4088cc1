"""Extractors and encoders from their descriptions: the inverse of `to_dict()`, used by saved processors.

A new kind of extractor adds one line to `_EXTRACTORS`.
"""

import inspect
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from lxmert.errors import ConfigurationError
from lxmert.vision.backbone_grid import BackboneGrid
from lxmert.vision.detr import TransformersDetector
from lxmert.vision.encoders import BackboneEncoder, BoxEncoder, PooledPixels
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.given_boxes import GivenBoxes
from lxmert.vision.grid import RegularGrid

_ENCODERS: dict[str, Callable[..., BoxEncoder]] = {
    "pooled_pixels": PooledPixels,
    "backbone": BackboneEncoder,
}
_EXTRACTORS: dict[str, Callable[..., RegionExtractor] | str] = {
    "given_boxes": GivenBoxes,
    "regular_grid": RegularGrid,
    "backbone_grid": BackboneGrid,
    "detr": TransformersDetector,
    "faster_rcnn": "lxmert.vision.faster_rcnn.extractor:FasterRcnnExtractor",
}
"""A name instead of a class is imported when asked for: who only reads features need not wait for it."""


def build_extractor(spec: Mapping[str, Any]) -> RegionExtractor:
    """Make the extractor that `spec` describes.

    Args:
        spec: for example `{"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 10}}`.

    Raises:
        ConfigurationError: unknown kind, or settings that are unknown, missing or wrong.
    """
    return _build(spec, _EXTRACTORS, "extractor")


def build_encoder(spec: Mapping[str, Any]) -> BoxEncoder:
    """Make the box encoder that `spec` describes; see `build_extractor`."""
    return _build(spec, _ENCODERS, "encoder")


def _build(spec: Any, makers: Mapping[str, Callable[..., Any] | str], what: str) -> Any:
    if not isinstance(spec, Mapping):
        raise ConfigurationError(f"the {what} is {spec!r}; expected a mapping with a `kind`")
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if kind not in makers:
        raise ConfigurationError(
            f"unknown kind of {what} {kind!r}; expected one of {', '.join(sorted(makers))}"
        )
    found = makers[kind]
    maker: Callable[..., Any] = resolve_name(found) if isinstance(found, str) else found
    parameters = inspect.signature(maker).parameters
    unknown = sorted(settings.keys() - parameters.keys())
    missing = sorted(
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in settings
    )
    if unknown or missing:
        faults = [f"unknown {name!r}" for name in unknown] + [f"missing {name!r}" for name in missing]
        raise ConfigurationError(f"{what} {kind!r}: {', '.join(faults)}; it takes {', '.join(parameters)}")
    if "encoder" in settings:
        settings["encoder"] = build_encoder(settings["encoder"])
    return maker(**settings)

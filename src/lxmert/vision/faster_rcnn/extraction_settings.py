"""Settings of extraction besides the weights: sizes, preset, counts, channel order, precision."""

import copy
import hashlib
import json
from dataclasses import dataclass

import torch

from lxmert.errors import ConfigurationError
from lxmert.faults import count_fault
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig
from lxmert.vision.faster_rcnn.selection import SelectionSettings
from lxmert.vision.pixel_formats import CHANNEL_ORDERS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# The Caffe program that computed LXMERT's own features used smaller images than the published port.
_PUBLISHED_SIZES_PX = (800, 1333)
_BUTD_SIZES_PX = (600, 1000)

_RESULT_FIELDS = ("pixel_", "min_size", "max_size", "anchor", "proposal", "max_proposals", "pooling", "roi_")
"""Prefixes of configuration fields that affect the results but not the weights."""


@dataclass(frozen=True)
class ExtractionSettings:
    """How objects are extracted.

    Attributes:
        config: the detector's configuration, with the image sizes of the preset.
        selection: how objects are selected.
        channel_order: "bgr" or "rgb".
        dtype: "float32" or "bfloat16".
    """

    config: FasterRcnnConfig
    selection: SelectionSettings
    channel_order: str
    dtype: str

    @classmethod
    def resolve(
        cls,
        config: FasterRcnnConfig,
        *,
        preset: str,
        channel_order: str,
        dtype: str,
        objects: tuple[int | None, int | None],
        score_threshold: float | None,
    ) -> "ExtractionSettings":
        """Complete the given settings with those of the detector's configuration.

        Args:
            config: the detector's; not modified.
            preset: "published" or "butd".
            channel_order: "bgr" or "rgb".
            dtype: "float32" or "bfloat16".
            objects: least and greatest number of objects per image, each None if not given.
            score_threshold: least class probability, or None.

        Raises:
            ConfigurationError: unknown or impossible settings.
        """
        for name, value, known in (
            ("channel_order", channel_order, CHANNEL_ORDERS),
            ("dtype", dtype, tuple(DTYPES)),
        ):
            if value not in known:
                raise ConfigurationError(f"{name} is {value!r}; expected {' or '.join(known)}")
        config = copy.deepcopy(config)
        if preset == "butd" and (config.min_size_px, config.max_size_px) == _PUBLISHED_SIZES_PX:
            config.min_size_px, config.max_size_px = _BUTD_SIZES_PX
        min_objects, max_objects = _object_limits(config, *objects)
        if score_threshold is not None and min_objects == max_objects:
            raise ConfigurationError(
                f"score_threshold is {score_threshold!r}, but {min_objects} objects are kept in every image, "
                f"whatever their score; set min_objects below {max_objects}"
            )
        selection = SelectionSettings(
            preset=preset,  # type: ignore[arg-type]  # checked there
            nms_thresholds=tuple(config.detection_nms_thresholds),
            min_objects=min_objects,
            max_objects=max_objects,
            score_threshold=config.score_threshold if score_threshold is None else score_threshold,
            delta_weights=tuple(config.box_delta_weights),  # type: ignore[arg-type]  # four: checked there
        )
        return cls(config, selection, channel_order, dtype)

    @property
    def fingerprint(self) -> str:
        """A hash of all settings that affect the results, except channel order and dtype: 4 hex digits."""
        fields = {
            key: value for key, value in self.config.to_dict().items() if key.startswith(_RESULT_FIELDS)
        }
        described = json.dumps([fields, repr(self.selection)], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:4]


def _object_limits(
    config: FasterRcnnConfig, min_objects: int | None, max_objects: int | None
) -> tuple[int, int]:
    """Return the least and greatest number of objects; a given one takes precedence over the configuration's.

    Raises:
        ConfigurationError: a value that is not a valid count.
    """
    faults = [] if min_objects is None else count_fault("min_objects", min_objects, 0)
    faults += [] if max_objects is None else count_fault("max_objects", max_objects, 1)
    if faults:
        raise ConfigurationError("; ".join(faults))
    if min_objects is None:
        max_objects = config.max_objects if max_objects is None else max_objects
        return min(config.min_objects, max_objects), max_objects
    return min_objects, max(config.max_objects, min_objects) if max_objects is None else max_objects

"""Conversion of the detector's published configuration file to a `FasterRcnnConfig`.

Source: `config.yaml` of `unc-nlp/frcnn-vg-finetuned`; nested sections, keys in lower or upper case, written
for a program with many more options. Values that this detector does not support are rejected; options that
do not affect its results are ignored.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lxmert.errors import ConfigurationError
from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig

_BLOCKS_OF_DEPTH = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

# Configuration field -> key in the published file.
_PUBLISHED_KEYS = {
    "stem_channels": "resnets.stem_out_channels",
    "res2_channels": "resnets.res2_out_channels",
    "width_per_group": "resnets.width_per_group",
    "num_groups": "resnets.num_groups",
    "freeze_at": "backbone.freeze_at",
    "pixel_mean_bgr": "model.pixel_mean",
    "pixel_std_bgr": "model.pixel_std",
    "min_size_px": "input.min_size_test",
    "max_size_px": "input.max_size_test",
    "anchor_sizes_px": "anchor_generator.sizes",
    "anchor_ratios": "anchor_generator.aspect_ratios",
    "proposal_channels": "proposal_generator.hidden_channels",
    "proposal_min_size_px": "proposal_generator.min_size",
    "proposals_before_nms": "rpn.pre_nms_topk_test",
    "max_proposals": "rpn.post_nms_topk_test",
    "proposal_nms_threshold": "rpn.nms_thresh",
    "proposal_delta_weights": "rpn.bbox_reg_weights",
    "pooling_resolution": "roi_box_head.pooler_resolution",
    "num_object_labels": "roi_heads.num_classes",
    "num_attr_labels": "roi_box_head.num_attrs",
    "box_delta_weights": "roi_box_head.bbox_reg_weights",
    "detection_nms_thresholds": "roi_heads.nms_thresh_test",
    "min_objects": "min_detections",
    "max_objects": "max_detections",
}
_SINGLE_LEVEL_FIELDS = ("anchor_sizes_px", "anchor_ratios")
"""Fields stored as lists of lists, one for each feature map; this detector has one."""

# Options that affect the results, with the only values that this detector supports.
_SUPPORTED_VALUES: dict[str, tuple[Any, ...]] = {
    "input.format": ("BGR",),
    "model.max_pool": (True,),
    "backbone.out_features": (["res4"],),
    "resnets.out_features": (["res4"],),
    "resnets.norm": ("BN", "FrozenBN"),
    "resnets.stride_in_1x1": (True,),
    "anchor_generator.offset": (0, 0.0),
    "rpn.in_features": (["res4"],),
    "roi_heads.in_features": (["res4"],),
    "roi_box_head.res5halve": (False,),
    "roi_box_head.attr": (True,),
    "roi_box_head.cls_agnostic_bbox_reg": (False,),
    "size_divisibility": (0,),
    "pad_value": (0, 0.0),
}


def config_from_published(published: Mapping[str, Any]) -> FasterRcnnConfig:
    """Convert the content of a published config.yaml to a configuration.

    Missing keys default to the values of the published detector.

    Raises:
        ConfigurationError: naming all values that this detector does not support.
    """
    settings = _lowercase_keys(published)
    values = {
        name: found
        for name, dotted_key in _PUBLISHED_KEYS.items()
        if (found := _lookup(settings, dotted_key)) is not None
    }
    faults = list(_faults(settings, values))
    if faults:
        raise ConfigurationError(f"published detector configuration: {'; '.join(faults)}")
    for name in _SINGLE_LEVEL_FIELDS:
        if name in values:
            values[name] = values[name][0]
    depth = _lookup(settings, "resnets.depth")
    if depth is not None:
        values["stage_blocks"] = _BLOCKS_OF_DEPTH[depth]
    if not isinstance(thresholds := values.get("detection_nms_thresholds", []), list):
        values["detection_nms_thresholds"] = [thresholds]
    return FasterRcnnConfig(**values)


def _faults(settings: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    for dotted_key, allowed in _SUPPORTED_VALUES.items():
        found = _lookup(settings, dotted_key)
        if found is not None and found not in allowed:
            yield f"{dotted_key} is {found!r}, expected {' or '.join(map(repr, allowed))}"
    depth = _lookup(settings, "resnets.depth")
    if depth is not None and depth not in list(_BLOCKS_OF_DEPTH):  # It may be unhashable, such as a list.
        yield f"resnets.depth is {depth!r}, expected one of {', '.join(map(str, _BLOCKS_OF_DEPTH))}"
    for name in _SINGLE_LEVEL_FIELDS:
        levels = values.get(name, [[1]])
        if not (isinstance(levels, list) and len(levels) == 1 and isinstance(levels[0], list)):
            yield f"{_PUBLISHED_KEYS[name]} is {levels!r}, expected one list inside a list"


def _lowercase_keys(value: Any) -> Any:
    """Convert the keys to lower case, at all levels."""
    if isinstance(value, Mapping):
        return {str(key).lower(): _lowercase_keys(inner) for key, inner in value.items()}
    return value


def _lookup(settings: Mapping[str, Any], dotted_key: str) -> Any:
    """Return the value at a dotted path; None if it is missing."""
    value: Any = settings
    for key in dotted_key.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value

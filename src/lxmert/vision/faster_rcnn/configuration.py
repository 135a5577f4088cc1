"""`FasterRcnnConfig`: all hyperparameters of a Faster R-CNN with attributes, checked once on construction.

Source: the defaults are those of the detector published as `unc-nlp/frcnn-vg-finetuned`, which Anderson et
al. 2018 (arXiv 1707.07998) trained on Visual Genome and whose features LXMERT was trained on.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from transformers import PreTrainedConfig

from lxmert.errors import ConfigurationError
from lxmert.faults import count_fault, format_faults, hub_attention_fault, is_int_in_range, number_fault

_T = TypeVar("_T")

STEM_STRIDE = 4
"""Network pixels per cell of the stem's output: a convolution and a pooling layer with stride 2 each."""

_STRIDES = {"res3": 2 * STEM_STRIDE, "res4": 4 * STEM_STRIDE}
_SIZES = (
    "stem_channels",
    "res2_channels",
    "width_per_group",
    "num_groups",
    "roi_dilation",
    "min_size_px",
    "max_size_px",
    "proposal_channels",
    "proposals_before_nms",
    "max_proposals",
    "pooling_resolution",
    "num_object_labels",
    "max_objects",
)
_COUNTS = ("num_attr_labels", "min_objects", "freeze_at")
_NUMBERS = {
    # name: (length or None, minimum, maximum)
    "pixel_mean_bgr": (3, -255.0, 255.0),
    "pixel_std_bgr": (3, 1e-6, math.inf),
    "proposal_delta_weights": (4, 1e-6, math.inf),
    "box_delta_weights": (4, 1e-6, math.inf),
    "anchor_sizes_px": (None, 1e-6, math.inf),
    "anchor_ratios": (None, 1e-6, math.inf),
    "detection_nms_thresholds": (None, 0.0, 1.0),
}


class FasterRcnnConfig(PreTrainedConfig):
    """The architecture of a detector, its preprocessing, and how many objects it reports.

    Args:
        stem_channels: channels after the first convolution.
        res2_channels: output channels of res2, the first residual stage; each later stage has twice as many.
        width_per_group: bottleneck channels per group in res2; each later stage has twice as many.
        num_groups: groups of the 3×3 convolutions.
        stage_blocks: number of bottleneck blocks in res2, res3, res4 and res5, at least 1 each; 0 for res4
            if `feature_stage` is "res3".
        feature_stage: the stage whose output proposals and RoIs are computed from: "res4" (16 pixels per
            cell) or "res3" (8 pixels per cell).
        roi_dilation: dilation of the 3×3 convolutions of res5, which runs on each RoI with stride 1.
        freeze_norms: True freezes statistics and parameters of all batch normalisation in training.
        freeze_at: number of stages frozen in training: 0 for none, 1 for the stem, 2 for the stem and res2,
            and so on.
        pixel_mean_bgr: means subtracted from pixels in 0..255, in the order blue, green, red.
        pixel_std_bgr: standard deviations by which the differences are divided.
        min_size_px: shorter side of the network's input.
        max_size_px: limit of its longer side; images that would exceed it get a shorter side below
            `min_size_px`.
        anchor_sizes_px: square roots of the anchors' areas.
        anchor_ratios: aspect ratios of the anchors, height divided by width.
        proposal_channels: hidden channels of the proposal network.
        proposals_before_nms: number of top-scoring anchors that enter non-maximum suppression.
        max_proposals: maximum number of proposals kept after it.
        proposal_nms_threshold: overlap (intersection over union) above which a proposal is suppressed.
        proposal_min_size_px: width and height that a proposal must exceed.
        proposal_delta_weights: divisors of the proposal network's deltas.
        pooling: "max" (RoIPool, as published) or "align" (RoIAlign).
        pooling_resolution: bins along each side of a pooled RoI.
        num_object_labels: number of object classes K, without background.
        num_attr_labels: number of attributes A, without background; 0 for a detector without attributes.
        box_delta_weights: divisors of the box head's deltas.
        detection_nms_thresholds: overlap thresholds, tried in this order until `min_objects` objects remain.
        min_objects: least number of objects per image, if there are as many boxes.
        max_objects: greatest number of objects per image.
        score_threshold: least class probability of objects beyond `min_objects`; None for no threshold.
        object_names: the K class names, or None.
        attribute_names: the A attribute names, or None.
        **kwargs: arguments of `PreTrainedConfig`.

    Raises:
        ConfigurationError: naming all faults at once.
    """

    model_type = "lxmert_faster_rcnn"

    def __init__(
        self,
        stem_channels: int = 64,
        res2_channels: int = 256,
        width_per_group: int = 64,
        num_groups: int = 1,
        stage_blocks: Sequence[int] = (3, 4, 23, 3),
        feature_stage: str = "res4",
        roi_dilation: int = 2,
        freeze_norms: bool = True,
        freeze_at: int = 2,
        pixel_mean_bgr: Sequence[float] = (102.9801, 115.9465, 122.7717),
        pixel_std_bgr: Sequence[float] = (1.0, 1.0, 1.0),
        min_size_px: int = 800,
        max_size_px: int = 1333,
        anchor_sizes_px: Sequence[float] = (64, 128, 256, 512),
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        proposal_channels: int = 512,
        proposals_before_nms: int = 6000,
        max_proposals: int = 300,
        proposal_nms_threshold: float = 0.7,
        proposal_min_size_px: float = 0.0,
        proposal_delta_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        pooling: str = "max",
        pooling_resolution: int = 14,
        num_object_labels: int = 1600,
        num_attr_labels: int = 400,
        box_delta_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
        detection_nms_thresholds: Sequence[float] = (0.5, 0.6, 0.7),
        min_objects: int = 36,
        max_objects: int = 36,
        score_threshold: float | None = None,
        object_names: Sequence[str] | None = None,
        attribute_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stem_channels = stem_channels
        self.res2_channels = res2_channels
        self.width_per_group = width_per_group
        self.num_groups = num_groups
        self.stage_blocks = _as_list(stage_blocks)
        self.feature_stage = feature_stage
        self.roi_dilation = roi_dilation
        self.freeze_norms = freeze_norms
        self.freeze_at = freeze_at
        self.pixel_mean_bgr = _as_list(pixel_mean_bgr)
        self.pixel_std_bgr = _as_list(pixel_std_bgr)
        self.min_size_px = min_size_px
        self.max_size_px = max_size_px
        self.anchor_sizes_px = _as_list(anchor_sizes_px)
        self.anchor_ratios = _as_list(anchor_ratios)
        self.proposal_channels = proposal_channels
        self.proposals_before_nms = proposals_before_nms
        self.max_proposals = max_proposals
        self.proposal_nms_threshold = proposal_nms_threshold
        self.proposal_min_size_px = proposal_min_size_px
        self.proposal_delta_weights = _as_list(proposal_delta_weights)
        self.pooling = pooling
        self.pooling_resolution = pooling_resolution
        self.num_object_labels = num_object_labels
        self.num_attr_labels = num_attr_labels
        self.box_delta_weights = _as_list(box_delta_weights)
        self.detection_nms_thresholds = _as_list(detection_nms_thresholds)
        self.min_objects = min_objects
        self.max_objects = max_objects
        self.score_threshold = score_threshold
        self.object_names = None if object_names is None else _as_list(object_names)
        self.attribute_names = None if attribute_names is None else _as_list(attribute_names)
        self.validate()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "FasterRcnnConfig":
        """See `PreTrainedConfig.from_dict`.

        Raises:
            ConfigurationError: as the constructor; or the data name attention that may be code of the hub.
        """
        loaded = super().from_dict(config_dict, **kwargs)
        if fault := hub_attention_fault(loaded, kwargs.get("attn_implementation")):
            raise ConfigurationError(fault)
        return loaded

    @property
    def stride(self) -> int:
        """Network pixels per cell of the feature map."""
        return _STRIDES[self.feature_stage]

    @property
    def feature_dim(self) -> int:
        """Size D of an object's feature vector: the output channels of res5."""
        return 8 * self.res2_channels

    @property
    def class_embedding_channels(self) -> int:
        """Size of the class embedding in the input of the attribute head: an eighth of the features'."""
        return self.feature_dim // 8

    @property
    def attribute_channels(self) -> int:
        """Hidden size of the attribute head: a quarter of the features'."""
        return self.feature_dim // 4

    @property
    def anchors_per_cell(self) -> int:
        """Number of anchors at each cell of the feature map."""
        return len(self.anchor_sizes_px) * len(self.anchor_ratios)

    def validate(self) -> None:
        """Raise a `ConfigurationError` naming all faults, if there are any."""
        faults = list(self._faults())
        if faults:
            raise ConfigurationError(format_faults("FasterRcnnConfig", faults))

    def _faults(self) -> Iterator[str]:
        for name in _SIZES:
            yield from count_fault(name, getattr(self, name), minimum=1)
        for name in _COUNTS:
            yield from count_fault(name, getattr(self, name), minimum=0)
        for name, (length, minimum, maximum) in _NUMBERS.items():
            yield from _numbers_fault(name, getattr(self, name), length, minimum, maximum)
        yield from number_fault("proposal_nms_threshold", self.proposal_nms_threshold, 0, 1)
        yield from number_fault("proposal_min_size_px", self.proposal_min_size_px, 0, math.inf)
        if self.score_threshold is not None:
            yield from number_fault("score_threshold", self.score_threshold, 0, 1)
        for name, choices in (("feature_stage", tuple(_STRIDES)), ("pooling", ("max", "align"))):
            if getattr(self, name) not in choices:
                yield f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
        yield from self._stage_fault()
        for low_name, high_name in (("min_objects", "max_objects"), ("min_size_px", "max_size_px")):
            low, high = getattr(self, low_name), getattr(self, high_name)
            if is_int_in_range(low, 0) and is_int_in_range(high, 0) and low > high:
                yield f"{low_name} {low} is more than {high_name} {high}"
        sizes = {"object_names": self.num_object_labels, "attribute_names": self.num_attr_labels}
        for names_name, size in sizes.items():
            names = getattr(self, names_name)
            if names is not None and not isinstance(names, list):
                yield f"{names_name} must be a list of {size} names, got {names!r}"
            elif names is not None and len(names) != size:
                yield f"{names_name} has {len(names)} names for {size} classes"

    def _stage_fault(self) -> Iterator[str]:
        blocks = self.stage_blocks
        has_four = isinstance(blocks, list) and len(blocks) == 4
        if not (has_four and all(is_int_in_range(count, 0) for count in blocks)):
            yield f"stage_blocks must be four integers of at least 0 (res2, res3, res4, res5), got {blocks!r}"
            return
        used = {"res2": blocks[0], "res3": blocks[1], "res5": blocks[3]}
        if self.feature_stage == "res4":
            used["res4"] = blocks[2]
        for stage, count in used.items():
            if count < 1:
                yield f"stage_blocks gives {stage} no block; it needs at least one"
        if self.feature_stage == "res3" and blocks[2]:
            yield f"stage_blocks gives res4 {blocks[2]} blocks, but feature_stage is res3: set it to 0"


def _as_list(values: Iterable[_T]) -> list[_T]:
    is_several = isinstance(values, Iterable) and not isinstance(values, str)
    return list(values) if is_several else values  # type: ignore[return-value]  # `validate` checks


def _numbers_fault(
    name: str, values: Any, length: int | None, minimum: float, maximum: float
) -> Iterator[str]:
    if not isinstance(values, list) or not values or (length is not None and len(values) != length):
        yield f"{name} must be {length or 'one or more'} numbers, got {values!r}"
        return
    for value in values:
        yield from number_fault(name, value, minimum, maximum)

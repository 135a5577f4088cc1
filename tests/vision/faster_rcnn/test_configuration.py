import numpy as np
import pytest
import yaml

from lxmert.errors import ConfigurationError
from lxmert.vision.faster_rcnn import FasterRcnnConfig
from lxmert.vision.faster_rcnn.published_config import config_from_published


def test_defaults_describe_published_detector() -> None:
    config = FasterRcnnConfig()
    assert (config.stride, config.feature_dim, config.anchors_per_cell) == (16, 2048, 12)
    assert (config.num_object_labels, config.num_attr_labels) == (1600, 400)
    assert (config.min_size_px, config.max_size_px, config.pooling_resolution) == (800, 1333, 14)
    assert (config.pixel_mean_bgr, config.pixel_std_bgr) == ([102.9801, 115.9465, 122.7717], [1.0, 1.0, 1.0])
    assert (config.stage_blocks, config.stem_channels, config.res2_channels) == ([3, 4, 23, 3], 64, 256)
    assert (config.anchor_sizes_px, config.anchor_ratios) == ([64, 128, 256, 512], [0.5, 1.0, 2.0])
    assert (config.proposal_channels, config.proposals_before_nms, config.max_proposals) == (512, 6000, 300)
    assert (config.proposal_nms_threshold, config.proposal_min_size_px) == (0.7, 0.0)
    assert (config.proposal_delta_weights, config.box_delta_weights) == ([1.0] * 4, [10.0, 10.0, 5.0, 5.0])
    assert config.detection_nms_thresholds == [0.5, 0.6, 0.7]
    assert (config.min_objects, config.max_objects, config.score_threshold) == (36, 36, None)


def test_features_from_res3_have_half_the_stride() -> None:
    config = FasterRcnnConfig(stage_blocks=(2, 3, 0, 1), feature_stage="res3", res2_channels=32)
    assert (config.stride, config.feature_dim) == (8, 256)


def test_config_survives_save_and_load(tmp_path) -> None:
    config = FasterRcnnConfig(num_object_labels=2, object_names=["cat", "dog"], score_threshold=0.4)
    config.save_pretrained(tmp_path)
    assert FasterRcnnConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_attention_that_may_be_code_of_the_hub_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'any/kernel', which may be code of the hub"):
        FasterRcnnConfig.from_dict({"attn_implementation": "any/kernel"})


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        FasterRcnnConfig(
            stem_channels=0,
            pooling="mean",
            min_objects=40,
            max_objects=36,
            pixel_std_bgr=(1.0, 0.0, 1.0),
            object_names=["one"],
            score_threshold=1.5,
            stage_blocks=(3, 4, 0, 3),
        )
    message = str(caught.value)
    for name in (
        "stem_channels",
        "pooling",
        "min_objects 40",
        "pixel_std_bgr",
        "object_names",
        "score_threshold",
    ):
        assert name in message
    assert "stage_blocks gives res4 no block" in message


@pytest.mark.parametrize("blocks", [(3, 4, 5, 3), (0, 4, 0, 3), (3, 4, 0), (3, 4, -1, 3)])
def test_invalid_stage_blocks_are_rejected(blocks) -> None:
    with pytest.raises(ConfigurationError, match="stage_blocks"):
        FasterRcnnConfig(stage_blocks=blocks, feature_stage="res3")


def test_scalar_in_place_of_list_is_reported_with_other_faults() -> None:
    with pytest.raises(ConfigurationError) as caught:
        FasterRcnnConfig(pixel_mean_bgr=103, stage_blocks=3, anchor_sizes_px=None, object_names="sky")  # type: ignore[arg-type]
    for fault in (
        "4 fault(s)",
        "pixel_mean_bgr must be 3 numbers, got 103",
        "got 3",
        "anchor_sizes_px must be one or more numbers, got None",
        "object_names must be a list of 1600 names, got 'sky'",
    ):
        assert fault in str(caught.value)
    assert FasterRcnnConfig(anchor_ratios=np.array([0.5, 1.0])).anchor_ratios == [0.5, 1.0]


PUBLISHED = """
model:
  max_pool: true
  pixel_mean: [102.9801, 115.9465, 122.7717]
  pixel_std: [1.0, 1.0, 1.0]
  device: cpu
input: {format: BGR, min_size_test: 600, max_size_test: 1000}
BACKBONE: {FREEZE_AT: 2}
resnets:
  depth: 50
  out_features: [res4]
  norm: BN
  stem_out_channels: 8
  res2_out_channels: 32
  width_per_group: 8
  res5_dilation: 1
anchor_generator: {sizes: [[16, 32]], aspect_ratios: [[0.5, 1.0, 2.0]], offset: 0}
rpn: {pre_nms_topk_test: 100, post_nms_topk_test: 20, nms_thresh: 0.7, in_features: [res4]}
roi_heads: {num_classes: 40, nms_thresh_test: [0.5, 0.6], score_thresh_test: 0.2}
roi_box_head: {num_attrs: 12, attr: true, res5halve: false, pooler_resolution: 14}
min_detections: 10
max_detections: 12
"""


def test_published_config_keys_are_read_in_upper_or_lower_case() -> None:
    config = config_from_published(yaml.safe_load(PUBLISHED))
    assert config.stage_blocks == [3, 4, 6, 3]
    assert (config.stem_channels, config.res2_channels, config.width_per_group) == (8, 32, 8)
    assert (config.min_size_px, config.max_size_px, config.freeze_at) == (600, 1000, 2)
    assert (config.anchor_sizes_px, config.anchor_ratios) == ([16, 32], [0.5, 1.0, 2.0])
    assert (config.proposals_before_nms, config.max_proposals) == (100, 20)
    assert (config.num_object_labels, config.num_attr_labels) == (40, 12)
    assert config.detection_nms_thresholds == [0.5, 0.6]
    assert (config.min_objects, config.max_objects, config.score_threshold) == (10, 12, None)


def test_empty_published_file_gives_published_detector() -> None:
    assert config_from_published({}).to_dict() == FasterRcnnConfig().to_dict()


@pytest.mark.parametrize("depth", [18, [101]])
def test_unsupported_published_settings_are_reported_together(depth) -> None:
    values = yaml.safe_load(PUBLISHED)
    values["roi_box_head"]["res5halve"] = True
    values["resnets"]["depth"] = depth
    values["input"]["format"] = "RGB"
    with pytest.raises(ConfigurationError) as caught:
        config_from_published(values)
    for place in ("roi_box_head.res5halve", f"resnets.depth is {depth}", "input.format is 'RGB'"):
        assert place in str(caught.value)


def published_config_with(place: str, value: object) -> dict[str, object]:
    """A published file that says nothing but this, its sections parted by dots."""
    for key in reversed(place.split(".")):
        value = {key: value}
    return value  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        ("backbone.freeze_at", 3, "freeze_at"),
        ("resnets.num_groups", 2, "num_groups"),
        ("model.pixel_mean", [1.0, 2.0, 3.0], "pixel_mean_bgr"),
        ("model.pixel_std", [2.0, 3.0, 4.0], "pixel_std_bgr"),
        ("proposal_generator.hidden_channels", 96, "proposal_channels"),
        ("proposal_generator.min_size", 16.0, "proposal_min_size_px"),
        ("rpn.nms_thresh", 0.6, "proposal_nms_threshold"),
        ("rpn.bbox_reg_weights", [2.0, 2.0, 1.0, 1.0], "proposal_delta_weights"),
        ("roi_box_head.bbox_reg_weights", [1.0, 1.0, 2.0, 2.0], "box_delta_weights"),
        ("roi_box_head.pooler_resolution", 7, "pooling_resolution"),
    ],
)
def test_published_setting_sets_config_field(place: str, value: object, field: str) -> None:
    assert getattr(config_from_published(published_config_with(place, value)), field) == value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.max_pool", False),
        ("backbone.out_features", ["res3"]),
        ("resnets.out_features", ["res5"]),
        ("resnets.norm", "GN"),
        ("resnets.stride_in_1x1", False),
        ("anchor_generator.offset", 0.5),
        ("rpn.in_features", ["res3"]),
        ("roi_heads.in_features", ["res5"]),
        ("roi_box_head.attr", False),
        ("roi_box_head.cls_agnostic_bbox_reg", True),
        ("size_divisibility", 32),
        ("pad_value", 1.0),
    ],
)
def test_unsupported_published_switch_is_rejected(place: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"{place} is .*, expected"):
        config_from_published(published_config_with(place, value))

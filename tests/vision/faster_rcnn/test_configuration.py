import numpy as np
import pytest
import yaml

from lxmert.errors import ConfigurationError
from lxmert.vision.faster_rcnn import FasterRcnnConfig
from lxmert.vision.faster_rcnn.published import config_from_published


def test_the_defaults_are_the_published_detector() -> None:
    config = FasterRcnnConfig()
    assert (config.stride, config.feature_dim, config.anchors_per_cell) == (16, 2048, 12)
    assert (config.num_object_labels, config.num_attr_labels) == (1600, 400)


def test_features_from_res3_have_half_the_stride() -> None:
    config = FasterRcnnConfig(stage_blocks=(2, 3, 0, 1), feature_stage="res3", res2_channels=32)
    assert (config.stride, config.feature_dim) == (8, 256)


def test_it_survives_its_file(tmp_path) -> None:
    config = FasterRcnnConfig(num_object_labels=2, object_names=["cat", "dog"], score_threshold=0.4)
    config.save_pretrained(tmp_path)
    assert FasterRcnnConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


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
def test_stages_that_cannot_be_are_refused(blocks) -> None:
    with pytest.raises(ConfigurationError, match="stage_blocks"):
        FasterRcnnConfig(stage_blocks=blocks, feature_stage="res3")


def test_one_value_where_several_are_expected_is_a_fault_like_others() -> None:
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


def test_the_published_file_is_understood_in_either_case() -> None:
    config = config_from_published(yaml.safe_load(PUBLISHED))
    assert config.stage_blocks == [3, 4, 6, 3]
    assert (config.stem_channels, config.res2_channels, config.width_per_group) == (8, 32, 8)
    assert (config.min_size_px, config.max_size_px, config.freeze_at) == (600, 1000, 2)
    assert (config.anchor_sizes_px, config.anchor_ratios) == ([16, 32], [0.5, 1.0, 2.0])
    assert (config.proposals_before_nms, config.max_proposals) == (100, 20)
    assert (config.num_object_labels, config.num_attr_labels) == (40, 12)
    assert config.detection_nms_thresholds == [0.5, 0.6]
    assert (config.min_objects, config.max_objects, config.score_threshold) == (10, 12, None)


def test_an_empty_published_file_gives_the_published_detector() -> None:
    assert config_from_published({}).to_dict() == FasterRcnnConfig().to_dict()


@pytest.mark.parametrize("depth", [18, [101]])
def test_what_the_detector_cannot_be_is_refused_all_at_once(depth) -> None:
    values = yaml.safe_load(PUBLISHED)
    values["roi_box_head"]["res5halve"] = True
    values["resnets"]["depth"] = depth
    values["input"]["format"] = "RGB"
    with pytest.raises(ConfigurationError) as caught:
        config_from_published(values)
    for place in ("roi_box_head.res5halve", f"resnets.depth is {depth}", "input.format is 'RGB'"):
        assert place in str(caught.value)

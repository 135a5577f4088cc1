"""The small golden model, stage by stage and end to end, as trained code and as folded code.

Tolerances: the noise between equivalent float32 arithmetics that was measured with the golden data, features
4e-5 of 13, boxes 0.014 px, probabilities 2e-5, ids equal; logits, not measured there, reach 10.
"""

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lxmert.vision.faster_rcnn import FasterRcnn, FasterRcnnExtractor
from lxmert.vision.faster_rcnn.box_coding import decode_boxes
from lxmert.vision.faster_rcnn.folding import fold_detector
from lxmert.vision.faster_rcnn.preprocessing import to_network_pixels
from lxmert.vision.faster_rcnn.published_config import config_from_published

FEATURES, LOGITS, BOXES_PX, PROBABILITIES = 4e-5, 1e-4, 0.014, 2e-5


@pytest.fixture(scope="module")
def golden_folder(shared_specs):
    return shared_specs / "faster_rcnn" / "small"


@pytest.fixture(scope="module")
def detector(golden_folder):
    config = config_from_published(json.loads((golden_folder / "config.json").read_text()))
    model = FasterRcnn(config)
    model.load_state_dict(load_file(golden_folder / "state_dict.safetensors"))
    return model.eval()


@pytest.fixture(scope="module")
def image(golden_folder):
    bgr = np.load(golden_folder / "inputs_A.npz")["raw_A"]
    return Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))


@pytest.fixture(scope="module")
def stages(golden_folder):
    return {
        name: torch.from_numpy(values) for name, values in np.load(golden_folder / "stages_A.npz").items()
    }


@pytest.fixture(scope="module")
def outputs(golden_folder):
    return {
        name: torch.from_numpy(values) for name, values in np.load(golden_folder / "outputs_A.npz").items()
    }


@pytest.fixture(scope="module", params=["plain", "folded"])
def computed(request, detector, image):
    """What each stage of our detector makes of the golden image."""
    model = detector if request.param == "plain" else fold_detector(copy.deepcopy(detector))
    pixels = to_network_pixels(image, detector.config)
    size_hw = (pixels.shape[1], pixels.shape[2])
    with torch.inference_mode():
        feature_map = model.feature_map(pixels[None])[0]
        objectness, deltas = model.proposal_scores(feature_map[None])
        proposals, logits = model.propose(feature_map, size_hw)
        predictions = model.predict(feature_map, size_hw)
    return {
        "size_hw": size_hw,
        "feature_map": feature_map,
        "objectness": objectness[0],
        "deltas": deltas[0],
        "proposals": proposals,
        "logits": logits,
        "predictions": predictions,
        "pool": model.pooler(feature_map),
    }


def matching_rows(computed, stages):
    """For each golden proposal the row of ours: two of them are so close in score that they may swap."""
    distance = torch.cdist(stages["proposals_0"], computed["predictions"].proposals_xyxy, p=float("inf"))
    rows = distance.argmin(dim=1)
    assert sorted(rows.tolist()) == list(range(60))
    return rows


def assert_close_absolute(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_network_input_size_equals_golden_size(computed, golden_folder):
    golden = np.load(golden_folder / "inputs_A.npz")
    assert list(computed["size_hw"]) == golden["sizes_A"][0].tolist()


def test_feature_map_equals_golden_res4(computed, stages):
    assert_close_absolute(computed["feature_map"], stages["res4"][0], FEATURES)


def test_proposal_scores_equal_golden_ones_in_order_of_anchors(computed, stages):
    objectness = stages["rpn_objectness"][0].permute(1, 2, 0).reshape(-1)
    assert_close_absolute(computed["objectness"], objectness, LOGITS)
    deltas = stages["rpn_deltas"][0].permute(1, 2, 0).reshape(-1, 4)
    assert_close_absolute(computed["deltas"], deltas, LOGITS)


def test_proposals_equal_golden_ones_best_first(computed, stages):
    rows = matching_rows(computed, stages)
    assert_close_absolute(computed["proposals"][rows], stages["proposals_0"], BOXES_PX)
    assert_close_absolute(computed["logits"][rows], stages["proposal_logits_0"], LOGITS)
    assert_close_absolute(computed["logits"], stages["proposal_logits_0"], LOGITS)


def test_pooled_regions_equal_golden_ones(computed, stages):
    pooled = computed["pool"](stages["proposals_0"])
    assert_close_absolute(pooled[:8], stages["roi_pooled_first8"], FEATURES)
    assert_close_absolute(pooled.mean(dim=(2, 3)), stages["roi_pooled_mean"], FEATURES)


def test_res5_outputs_equal_golden_ones(detector, stages):
    with torch.inference_mode():
        assert_close_absolute(
            detector.roi_heads.res5(stages["roi_pooled_first8"][:2]), stages["res5_first2"], FEATURES
        )
        folded = fold_detector(copy.deepcopy(detector)).roi_heads
        means = folded.encode(stages["roi_pooled_first8"])
    assert_close_absolute(means, stages["roi_features_all"][:8], FEATURES)


def test_features_and_predictions_equal_golden_ones(computed, stages):
    rows, predictions = matching_rows(computed, stages), computed["predictions"]
    assert_close_absolute(predictions.features[rows], stages["roi_features_all"], FEATURES)
    assert_close_absolute(predictions.object_logits[rows], stages["obj_logits"], LOGITS)
    assert_close_absolute(predictions.attribute_logits[rows], stages["attr_logits"], LOGITS)
    assert_close_absolute(predictions.deltas[rows], stages["box_deltas"], LOGITS)


def test_refined_boxes_equal_golden_ones(computed, stages):
    rows, predictions = matching_rows(computed, stages), computed["predictions"]
    boxes = decode_boxes(
        predictions.deltas[rows].unflatten(1, (-1, 4)),
        predictions.proposals_xyxy[rows][:, None],
        (10.0, 10.0, 5.0, 5.0),
    )
    assert_close_absolute(boxes.flatten(1), stages["decoded_boxes_0"], BOXES_PX)


def test_regions_equal_golden_outputs(detector, image, outputs):
    regions = FasterRcnnExtractor(detector)([image])[0]
    assert len(regions) == int(outputs["preds_per_image"][0])
    assert regions.object_ids.tolist() == outputs["obj_ids"][0].tolist()
    assert regions.attribute_ids.tolist() == outputs["attr_ids"][0].tolist()
    assert_close_absolute(regions.object_scores, outputs["obj_probs"][0], PROBABILITIES)
    assert_close_absolute(regions.attribute_scores, outputs["attr_probs"][0], PROBABILITIES)
    assert_close_absolute(regions.boxes_xyxy_px, outputs["boxes"][0], BOXES_PX)
    assert_close_absolute(regions.features, outputs["roi_features"][0], FEATURES)
    assert_close_absolute(regions.boxes_xyxy_unit(), outputs["normalized_boxes_correct"][0], BOXES_PX / 120)


def test_regions_in_batch_of_other_sizes_equal_golden_outputs(detector, image, outputs):
    others = [image.resize((90, 200)), image.transpose(Image.Transpose.ROTATE_90)]
    regions = FasterRcnnExtractor(detector)([others[0], image, others[1]])[1]
    assert regions.object_ids.tolist() == outputs["obj_ids"][0].tolist()
    assert_close_absolute(regions.features, outputs["roi_features"][0], FEATURES)


def test_rgb_channel_order_equals_golden_outputs_only_for_swapped_image(detector, image, outputs):
    exchanged = Image.merge("RGB", image.split()[::-1])
    regions = FasterRcnnExtractor(detector, channel_order="rgb")([exchanged])[0]
    wrong = FasterRcnnExtractor(detector, channel_order="rgb")([image])[0]
    assert_close_absolute(regions.features, outputs["roi_features"][0], FEATURES)
    assert not torch.allclose(wrong.features, outputs["roi_features"][0], atol=1e-2)


def test_bfloat16_gives_same_object_ids_and_nearly_equal_features(detector, image, outputs):
    given = outputs["boxes"][0]
    exact = FasterRcnnExtractor(detector)([image], [given])[0]
    rough = FasterRcnnExtractor(detector, dtype="bfloat16")([image], [given])[0]
    error = (rough.features - exact.features).norm() / exact.features.norm()
    assert 1e-4 < error < 0.005
    assert rough.features.dtype == torch.float32
    assert rough.object_ids.tolist() == exact.object_ids.tolist()

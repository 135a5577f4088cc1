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
def small(shared_specs):
    return shared_specs / "faster_rcnn" / "small"


@pytest.fixture(scope="module")
def detector(small):
    config = config_from_published(json.loads((small / "config.json").read_text()))
    model = FasterRcnn(config)
    model.load_state_dict(load_file(small / "state_dict.safetensors"))
    return model.eval()


@pytest.fixture(scope="module")
def image(small):
    bgr = np.load(small / "inputs_A.npz")["raw_A"]
    return Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))


@pytest.fixture(scope="module")
def stages(small):
    return {name: torch.from_numpy(values) for name, values in np.load(small / "stages_A.npz").items()}


@pytest.fixture(scope="module")
def outputs(small):
    return {name: torch.from_numpy(values) for name, values in np.load(small / "outputs_A.npz").items()}


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


def aligned(computed, stages):
    """For each golden proposal the row of ours: two of them are so close in score that they may swap."""
    distance = torch.cdist(stages["proposals_0"], computed["predictions"].proposals_xyxy, p=float("inf"))
    rows = distance.argmin(dim=1)
    assert sorted(rows.tolist()) == list(range(60))
    return rows


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_the_network_sees_the_golden_size(computed, small):
    golden = np.load(small / "inputs_A.npz")
    assert list(computed["size_hw"]) == golden["sizes_A"][0].tolist()


def test_feature_map(computed, stages):
    close(computed["feature_map"], stages["res4"][0], FEATURES)


def test_proposal_scores_in_the_order_of_anchors(computed, stages):
    objectness = stages["rpn_objectness"][0].permute(1, 2, 0).reshape(-1)
    close(computed["objectness"], objectness, LOGITS)
    deltas = stages["rpn_deltas"][0].permute(1, 2, 0).reshape(-1, 4)
    close(computed["deltas"], deltas, LOGITS)


def test_proposals_best_first(computed, stages):
    rows = aligned(computed, stages)
    close(computed["proposals"][rows], stages["proposals_0"], BOXES_PX)
    close(computed["logits"][rows], stages["proposal_logits_0"], LOGITS)
    close(computed["logits"], stages["proposal_logits_0"], LOGITS)


def test_pooled_regions(computed, stages):
    pooled = computed["pool"](stages["proposals_0"])
    close(pooled[:8], stages["roi_pooled_first8"], FEATURES)
    close(pooled.mean(dim=(2, 3)), stages["roi_pooled_mean"], FEATURES)


def test_res5(detector, stages):
    with torch.inference_mode():
        close(detector.roi_heads.res5(stages["roi_pooled_first8"][:2]), stages["res5_first2"], FEATURES)
        folded = fold_detector(copy.deepcopy(detector)).roi_heads
        means = folded.encode(stages["roi_pooled_first8"])
    close(means, stages["roi_features_all"][:8], FEATURES)


def test_features_and_predictions(computed, stages):
    rows, predictions = aligned(computed, stages), computed["predictions"]
    close(predictions.features[rows], stages["roi_features_all"], FEATURES)
    close(predictions.object_logits[rows], stages["obj_logits"], LOGITS)
    close(predictions.attribute_logits[rows], stages["attr_logits"], LOGITS)
    close(predictions.deltas[rows], stages["box_deltas"], LOGITS)


def test_refined_boxes(computed, stages):
    rows, predictions = aligned(computed, stages), computed["predictions"]
    boxes = decode_boxes(
        predictions.deltas[rows].unflatten(1, (-1, 4)),
        predictions.proposals_xyxy[rows][:, None],
        (10.0, 10.0, 5.0, 5.0),
    )
    close(boxes.flatten(1), stages["decoded_boxes_0"], BOXES_PX)


def test_regions(detector, image, outputs):
    regions = FasterRcnnExtractor(detector)([image])[0]
    assert len(regions) == int(outputs["preds_per_image"][0])
    assert regions.object_ids.tolist() == outputs["obj_ids"][0].tolist()
    assert regions.attribute_ids.tolist() == outputs["attr_ids"][0].tolist()
    close(regions.object_scores, outputs["obj_probs"][0], PROBABILITIES)
    close(regions.attribute_scores, outputs["attr_probs"][0], PROBABILITIES)
    close(regions.boxes_xyxy_px, outputs["boxes"][0], BOXES_PX)
    close(regions.features, outputs["roi_features"][0], FEATURES)
    close(regions.boxes_xyxy_unit(), outputs["normalized_boxes_correct"][0], BOXES_PX / 120)


def test_regions_in_a_batch_of_other_sizes(detector, image, outputs):
    others = [image.resize((90, 200)), image.transpose(Image.Transpose.ROTATE_90)]
    regions = FasterRcnnExtractor(detector)([others[0], image, others[1]])[1]
    assert regions.object_ids.tolist() == outputs["obj_ids"][0].tolist()
    close(regions.features, outputs["roi_features"][0], FEATURES)


def test_exchanged_channels_are_told_apart(detector, image, outputs):
    exchanged = Image.merge("RGB", image.split()[::-1])
    regions = FasterRcnnExtractor(detector, channel_order="rgb")([exchanged])[0]
    wrong = FasterRcnnExtractor(detector, channel_order="rgb")([image])[0]
    close(regions.features, outputs["roi_features"][0], FEATURES)
    assert not torch.allclose(wrong.features, outputs["roi_features"][0], atol=1e-2)


def test_bfloat16_sees_the_same_boxes_and_nearly_the_same_features(detector, image, outputs):
    given = outputs["boxes"][0]
    exact = FasterRcnnExtractor(detector)([image], [given])[0]
    rough = FasterRcnnExtractor(detector, dtype="bfloat16")([image], [given])[0]
    error = (rough.features - exact.features).norm() / exact.features.norm()
    assert 1e-4 < error < 0.005
    assert rough.features.dtype == torch.float32
    assert rough.object_ids.tolist() == exact.object_ids.tolist()

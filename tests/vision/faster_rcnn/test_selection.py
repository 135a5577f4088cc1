import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.errors import ConfigurationError, TensorError
from lxmert.vision.faster_rcnn.box_coding import encode_boxes
from lxmert.vision.faster_rcnn.selection import (
    RoiPredictions,
    SelectionSettings,
    label_given_boxes,
    select_class_agnostic,
    select_detections,
)
from tests.vision.box_strategies import golden, scored_boxes
from tests.vision.faster_rcnn.selection_by_definition import caffe_by_definition, published_by_definition

SIZE_HW = (40, 56)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_predictions(rois=12, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(rois, 2, generator=generator) * 30
    sides = torch.rand(rois, 2, generator=generator) * 18 + 2
    return RoiPredictions(
        proposals_xyxy=torch.cat([corners, corners + sides], dim=1),
        features=torch.rand(rois, 7, generator=generator),
        object_logits=torch.randn(rois, classes + 1, generator=generator) * 2,
        attribute_logits=torch.randn(rois, 4 + 1, generator=generator) * 2,
        deltas=torch.randn(rois, 4 * classes, generator=generator),
    )


@pytest.mark.parametrize(("case", "threshold"), [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.6), (4, 0.7)])
def test_published_selection_equals_golden_selection(shared_specs, case, threshold):
    arrays = golden(shared_specs, "final_select")
    count = int(arrays[f"n_{case}"])
    boxes = arrays[f"boxes_{case}"].view(70, 5, 4)
    proposals = torch.tensor([[20.0, 30, 90, 85]]).repeat(70, 1) + torch.arange(70.0)[:, None]
    predictions = RoiPredictions(
        proposals_xyxy=proposals,
        features=torch.zeros(70, 3),
        object_logits=arrays[f"probs_{case}"].log(),
        attribute_logits=None,
        deltas=encode_boxes(boxes, proposals[:, None], WEIGHTS).flatten(1),
    )
    options = SelectionSettings(min_objects=count, max_objects=count)
    found = select_detections(predictions, tuple(arrays[f"size_{case}"].tolist()), options)
    assert torch.equal(found.roi_indices, arrays[f"out_ids_{case}"])
    assert torch.equal(found.object_ids, arrays[f"out_classes_{case}"])
    assert torch.allclose(found.boxes_xyxy, arrays[f"out_boxes_{case}"], atol=1e-4)
    assert torch.allclose(found.object_scores, arrays[f"out_scores_{case}"], atol=1e-6)
    assert threshold == float(arrays[f"thr_used_{case}"])
    only = dataclasses.replace(options, nms_thresholds=(threshold,))
    again = select_detections(predictions, tuple(arrays[f"size_{case}"].tolist()), only)
    assert torch.equal(again.roi_indices, found.roi_indices)


@given(
    st.integers(0, 2**31),
    st.integers(1, 14),
    st.integers(1, 4),
    st.tuples(st.integers(0, 8), st.integers(0, 8)),
    st.sampled_from([None, 0.0, 0.3, 0.6, 1.0]),
)
@settings(max_examples=80, deadline=None)
def test_published_selection_equals_the_definition(seed, rois, classes, counts, score_threshold):
    predictions = random_predictions(rois, classes, seed=seed)
    options = SelectionSettings(
        nms_thresholds=(0.2, 0.5, 0.8),
        min_objects=min(counts),
        max_objects=max(*counts, 1),
        score_threshold=score_threshold,
    )
    found = select_detections(predictions, SIZE_HW, options)
    rows, boxes, scores, labels = published_by_definition(predictions, SIZE_HW, options)
    assert found.roi_indices.tolist() == rows
    assert found.object_ids.tolist() == labels
    assert torch.allclose(found.boxes_xyxy, boxes.reshape(-1, 4), atol=1e-3)
    assert torch.allclose(found.object_scores, scores, atol=1e-5)


@given(
    st.integers(0, 2**31),
    st.integers(1, 14),
    st.integers(1, 4),
    st.tuples(st.integers(0, 8), st.integers(0, 8)),
    st.sampled_from([None, 0.3, 0.6]),
)
@settings(max_examples=80, deadline=None)
def test_butd_selection_equals_the_definition(seed, rois, classes, counts, score_threshold):
    predictions = random_predictions(rois, classes, seed=seed)
    options = SelectionSettings(
        preset="butd",
        min_objects=min(counts),
        max_objects=max(*counts, 1),
        score_threshold=score_threshold,
    )
    found = select_detections(predictions, SIZE_HW, options)
    rows, boxes = caffe_by_definition(predictions, SIZE_HW, options)
    assert found.roi_indices.tolist() == rows
    assert torch.equal(found.boxes_xyxy, boxes)


@given(scored_boxes(at_most=16))
@settings(max_examples=60, deadline=None)
def test_butd_selection_with_ties_and_empty_boxes_equals_the_definition(scored):
    boxes, scores = scored
    logits = torch.stack([scores, scores.flip(0), torch.zeros(len(boxes))], dim=1)
    predictions = RoiPredictions(boxes, torch.zeros(len(boxes), 1), logits, None, torch.zeros(len(boxes), 8))
    options = SelectionSettings(preset="butd", min_objects=5, max_objects=5)
    found = select_detections(predictions, SIZE_HW, options)
    assert found.roi_indices.tolist() == caffe_by_definition(predictions, SIZE_HW, options)[0]


def test_first_nms_threshold_that_leaves_min_objects_is_used_or_else_the_last():
    boxes = torch.tensor([[0.0, 0, 20, 1], [2, 0, 22, 1], [9, 0, 29, 1]])  # overlaps 0.82, 0.48, 0.38
    scores = torch.tensor([0.9, 0.8, 0.7])

    def rows(at_least):
        options = SelectionSettings(nms_thresholds=(0.4, 0.6), min_objects=at_least, max_objects=3)
        return select_class_agnostic(boxes, scores, options).tolist()

    assert rows(1) == [0, 2]
    assert rows(2) == [0, 2]
    assert rows(3) == [0, 2]
    closer = boxes + torch.tensor([[0.0], [0], [-2]]) * torch.tensor([1.0, 0, 1, 0])  # box 2 at 7: 0.48, 0.6
    assert select_class_agnostic(
        closer, scores, SelectionSettings(nms_thresholds=(0.4, 0.6), min_objects=1, max_objects=3)
    ).tolist() == [0]
    assert select_class_agnostic(
        closer, scores, SelectionSettings(nms_thresholds=(0.4, 0.6), min_objects=2, max_objects=3)
    ).tolist() == [0, 2]


def test_score_threshold_decides_count_between_min_and_max_objects():
    boxes = torch.arange(6.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    scores = torch.tensor([0.3, 0.9, 0.5, 0.1, 0.7, 0.2])

    def count(at_least, at_most, threshold):
        options = SelectionSettings(
            min_objects=at_least, max_objects=at_most, score_threshold=threshold, nms_thresholds=(0.5,)
        )
        return select_class_agnostic(boxes, scores, options).tolist()

    assert count(1, 6, 0.5) == [1, 4, 2]
    assert count(4, 6, 0.5) == [1, 4, 2, 0]
    assert count(1, 2, 0.5) == [1, 4]
    assert count(0, 6, 0.95) == []
    assert count(0, 6, None) == [1, 4, 2, 0, 5, 3]
    assert count(9, 9, 0.5) == [1, 4, 2, 0, 5, 3]


def test_background_counts_for_the_score_of_an_object_but_not_for_an_attribute():
    predictions = RoiPredictions(
        proposals_xyxy=torch.tensor([[0.0, 0, 8, 8], [10, 10, 30, 20], [30, 5, 50, 35]]),
        features=torch.zeros(3, 2),
        object_logits=torch.tensor([[1.0, 3, 1], [3, 1, 1], [1, 2, 6]]).log(),  # odds; background last
        attribute_logits=torch.tensor([[1.0, 1, 2, 96], [5, 3, 2, 1], [1, 8, 1, 5]]).log(),
        deltas=torch.zeros(3, 8),
    )
    found = select_detections(predictions, SIZE_HW, SelectionSettings(min_objects=3, max_objects=3))
    assert found.roi_indices.tolist() == [0, 1, 2]
    assert found.object_ids.tolist() == [1, 0, 1]
    assert found.object_scores.tolist() == pytest.approx([3 / 5, 3 / 5, 2 / 9])
    assert found.attribute_ids.tolist() == [2, 0, 1]
    assert found.attribute_scores.tolist() == pytest.approx([2 / 4, 5 / 10, 8 / 10])


@pytest.mark.parametrize("preset", ["published", "butd"])
def test_selection_does_not_depend_on_proposal_order(preset):
    predictions = random_predictions(rois=25, seed=4)
    order = torch.randperm(25)
    shuffled = RoiPredictions(*(getattr(predictions, f.name)[order] for f in dataclasses.fields(predictions)))
    options = SelectionSettings(preset=preset, min_objects=6, max_objects=6)
    straight, other = (select_detections(one, SIZE_HW, options) for one in (predictions, shuffled))
    assert torch.equal(order[other.roi_indices], straight.roi_indices)
    for name in ("boxes_xyxy", "object_ids", "object_scores", "attribute_ids", "attribute_scores"):
        assert torch.allclose(getattr(other, name), getattr(straight, name))


@pytest.mark.parametrize("preset", ["published", "butd"])
@pytest.mark.parametrize("rois", [0, 1, 3])
def test_fewer_proposals_than_min_objects_give_fewer_detections(preset, rois):
    predictions = random_predictions(rois=rois)
    found = select_detections(predictions, SIZE_HW, SelectionSettings(preset=preset))
    assert len(found) == rois if preset == "butd" or rois < 2 else len(found) <= rois
    assert found.boxes_xyxy.shape == (len(found), 4)
    assert found.roi_indices.dtype == torch.int64
    assert found.attribute_ids.shape == (len(found),)


def test_label_given_boxes_keeps_all_boxes_and_their_order():
    predictions = random_predictions(rois=6, seed=2)
    predictions.proposals_xyxy[4] = predictions.proposals_xyxy[1]  # a duplicate stays
    found = label_given_boxes(predictions)
    assert found.roi_indices.tolist() == list(range(6))
    assert torch.equal(found.boxes_xyxy, predictions.proposals_xyxy)
    everything = SelectionSettings(nms_thresholds=(1.0,), min_objects=6, max_objects=6)
    chosen = select_detections(predictions, SIZE_HW, everything)
    assert torch.equal(found.object_ids[chosen.roi_indices], chosen.object_ids)
    assert torch.equal(found.object_scores[chosen.roi_indices], chosen.object_scores)
    assert torch.equal(found.attribute_ids[chosen.roi_indices], chosen.attribute_ids)


def test_without_attribute_logits_there_are_no_attributes():
    predictions = dataclasses.replace(random_predictions(), attribute_logits=None)
    for found in (
        label_given_boxes(predictions),
        select_detections(predictions, SIZE_HW, SelectionSettings()),
    ):
        assert found.attribute_ids is None
        assert found.attribute_scores is None


def test_bfloat16_predictions_are_selected_in_float32_without_gradient():
    predictions = random_predictions()
    halves = RoiPredictions(
        *(getattr(predictions, f.name).bfloat16().requires_grad_() for f in dataclasses.fields(predictions))
    )
    found = select_detections(halves, SIZE_HW, SelectionSettings())
    assert (found.boxes_xyxy.dtype, found.object_scores.dtype) == (torch.float32, torch.float32)
    assert not found.boxes_xyxy.requires_grad
    assert not found.object_scores.requires_grad


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("proposals_xyxy", (12, 5)),
        ("object_logits", (11, 6)),
        ("object_logits", (12, 1)),
        ("deltas", (12, 24)),
        ("attribute_logits", (11, 5)),
        ("attribute_logits", (12, 1)),
    ],
)
def test_mismatched_prediction_shapes_are_rejected(name, shape):
    predictions = dataclasses.replace(random_predictions(), **{name: torch.zeros(shape)})
    with pytest.raises(TensorError, match=r"has shape .* expected"):
        select_detections(predictions, SIZE_HW, SelectionSettings())


@pytest.mark.parametrize("name", ["object_logits", "attribute_logits", "deltas", "proposals_xyxy"])
def test_non_finite_predictions_are_rejected(name):
    predictions = random_predictions()
    getattr(predictions, name)[:] = math.nan
    with pytest.raises(TensorError, match="not finite"):
        select_detections(predictions, SIZE_HW, SelectionSettings())


def test_all_faults_of_the_settings_are_reported_together():
    with pytest.raises(ConfigurationError) as caught:
        SelectionSettings("caffe", (), 5, 4, 1.5, (1.0, 1.0, 1.0))
    for name in ("preset", "nms_thresholds", "min_objects", "score_threshold", "delta_weights"):
        assert name in str(caught.value)
    with pytest.raises(ConfigurationError, match="max_objects must be an integer of at least 1, got 0"):
        SelectionSettings(min_objects=0, max_objects=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_objects": 36.0}, r"max_objects must be an integer of at least 1, got 36\.0"),
        ({"min_objects": "36"}, "min_objects must be an integer of at least 0, got '36'"),
        ({"max_objects": True}, "max_objects must be an integer of at least 1, got True"),
        ({"score_threshold": "0.2"}, r"score_threshold must be a number in 0..1, got '0\.2'"),
        ({"score_threshold": math.nan}, "score_threshold must be a number in 0..1, got nan"),
        ({"nms_thresholds": (0.5, "0.6")}, "nms_thresholds"),
        ({"nms_thresholds": (0.5, 1.5)}, "nms_thresholds"),
        ({"delta_weights": (10.0, 10.0, 5.0, "5")}, "expected four numbers above 0"),
        ({"delta_weights": (10.0, 10.0, 5.0, 0.0)}, "expected four numbers above 0"),
        ({"delta_weights": (10.0, 10.0, 5.0, math.inf)}, "expected four numbers above 0"),
    ],
)
def test_settings_of_wrong_type_or_out_of_range_are_rejected(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        SelectionSettings(**settings)

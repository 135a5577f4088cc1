import json

import numpy as np
import pytest
import torch
from PIL import Image

from lxmert.errors import InputError, RegionsError
from lxmert.inference.object_detection import DetectedObject, detect_objects
from lxmert.vision import GivenBoxes, PooledPixels, Regions, RegularGrid
from lxmert.vision.drawing import draw_regions

BOXES = torch.tensor([[1.0, 2.0, 30.0, 20.0], [5.0, 6.0, 90.0, 55.5], [40.25, 10.0, 60.0, 58.0]])
PICTURE = Image.new("RGB", (100, 60), (120, 120, 120))


class Oracle:
    """Finds three known objects, or describes the boxes it is given, always with the same scores."""

    identity = "oracle"
    feature_dim = 2
    needs_boxes = False
    object_names = ("cat", "dog", "cup")
    attribute_names = ("red", "wet")

    def __call__(self, images, boxes_xyxy_px=None):
        boxes = BOXES if boxes_xyxy_px is None else boxes_xyxy_px[0]
        return [
            Regions(
                boxes_xyxy_px=boxes,
                features=torch.arange(2.0 * len(boxes)).reshape(-1, 2),
                size_hw=(image.height, image.width),
                extractor=self.identity,
                object_ids=torch.tensor([2, 0, 1]),
                object_scores=torch.tensor([0.5, 0.25, 0.75]),
                attribute_ids=torch.tensor([1, 0, 0]),
                attribute_scores=torch.tensor([0.1, 0.2, 0.3]),
            )
            for image in images
        ]

    def to_dict(self):
        return {"kind": "oracle"}


def test_objects_are_sorted_by_score_with_names_and_scores():
    detection = detect_objects(PICTURE, Oracle())
    assert [seen.label for seen in detection.objects] == ["red dog", "wet cup", "red cat"]
    assert [seen.score for seen in detection.objects] == [0.75, 0.5, 0.25]
    assert [seen.attribute_score for seen in detection.objects] == pytest.approx([0.3, 0.1, 0.2])
    assert detection.objects[0].box_xyxy_px == (40.25, 10.0, 60.0, 58.0)
    assert detection.regions.features.tolist() == [[4, 5], [0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"top": 2}, ["dog", "cup"]),
        ({"top": 9}, ["dog", "cup", "cat"]),
        ({"min_score": 0.5}, ["dog", "cup"]),  # a score equal to the least is enough
        ({"min_score": 0.5, "top": 1}, ["dog"]),
        ({"min_score": 0.8}, []),
        ({"min_score": 0.0}, ["dog", "cup", "cat"]),
    ],
)
def test_top_and_min_score_select_highest_scored_objects(choice, names):
    assert [seen.name for seen in detect_objects(PICTURE, Oracle(), **choice).objects] == names


def test_given_boxes_keep_their_order():
    assert [seen.name for seen in detect_objects(PICTURE, Oracle(), BOXES).objects] == ["cup", "cat", "dog"]
    assert [seen.name for seen in detect_objects(PICTURE, Oracle(), BOXES, top=2).objects] == ["cup", "dog"]
    assert [seen.name for seen in detect_objects(PICTURE, Oracle(), BOXES, min_score=0.6).objects] == ["dog"]


def test_extractors_without_names_or_scores_give_objects_with_none():
    detection = detect_objects(PICTURE, GivenBoxes(PooledPixels(2)), BOXES, top=2)
    assert [seen.label for seen in detection.objects] == [None, None]
    assert [(seen.score, seen.attribute_score) for seen in detection.objects] == [(None, None)] * 2
    assert len(detect_objects(PICTURE, RegularGrid(2, 3, PooledPixels(2))).objects) == 6
    with pytest.raises(InputError, match="gives no scores"):
        detect_objects(PICTURE, GivenBoxes(PooledPixels(2)), BOXES, min_score=0.5)
    with pytest.raises(RegionsError, match="pass boxes"):
        detect_objects(PICTURE, GivenBoxes(PooledPixels(2)))
    with pytest.raises(RegionsError, match="places its own boxes"):
        detect_objects(PICTURE, RegularGrid(2, 3, PooledPixels(2)), BOXES)


def test_to_dict_lists_detected_objects():
    data = json.loads(json.dumps(detect_objects(PICTURE, Oracle(), top=1).to_dict()))
    assert data == {
        "extractor": "oracle",
        "size": {"width": 100, "height": 60},
        "objects": [
            {
                "box": [40.25, 10.0, 60.0, 58.0],
                "name": "dog",
                "attribute": "red",
                "score": 0.75,
                "attribute_score": 0.3,
            }
        ],
    }


def test_json_is_rounded_to_hundredths_of_a_pixel_and_of_a_percent():
    data = DetectedObject((1.23456, 2.0, 30.98765, 40.5), None, "red", 0.123456, None).to_dict()
    assert data["box"] == [1.23, 2.0, 30.99, 40.5]
    assert (data["score"], data["attribute_score"]) == (0.1235, None)


def test_drawing_shows_only_selected_objects():
    nothing = np.asarray(detect_objects(PICTURE, Oracle(), min_score=1.0).draw())
    assert (nothing == 120).all()
    one, three = (np.asarray(detect_objects(PICTURE, Oracle(), top=top).draw()) for top in (1, 3))
    best = BOXES[2:]
    assert (one == np.asarray(draw_regions(PICTURE, best, ["red dog"], [0.75]))).all()
    blue = (0, 114, 178)
    assert (one == blue).all(axis=2).sum() > 0
    assert (one != 120).any(axis=2).sum() < (three != 120).any(axis=2).sum()
    numbered = detect_objects(PICTURE, GivenBoxes(PooledPixels(2)), BOXES).draw()
    assert numbered.size == (900, 540)  # enlarged for numbers, without an empty legend
    bare = np.asarray(numbered)
    assert (bare == blue).all(axis=2).sum() > 0

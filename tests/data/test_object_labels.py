"""ObjectLabels: ids of categories and attribute combinations, padded and cut to a batch."""

import torch

from lxmert.data.coco import CocoImage
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.task_examples import IGNORED_LABEL
from lxmert.vision.regions import Regions


def coco_image(number: int, categories: list[int], attributes: list[dict[str, str]]) -> CocoImage:
    count = len(categories)
    return CocoImage(
        image_id=number,
        file_name=f"{number}.png",
        size_hw=(30, 40),
        boxes_xyxy_px=torch.tensor([[0.0, 0.0, 5.0, 5.0]] * count).reshape(-1, 4),
        category_ids=torch.tensor(categories, dtype=torch.int64),
        category_names=("",) * count,
        attributes=tuple(attributes),
        is_crowd=torch.zeros(count, dtype=torch.bool),
    )


IMAGES = [
    coco_image(1, [7, 3], [{"color": "red", "fill": "solid"}, {}]),
    coco_image(2, [], []),
    coco_image(
        3,
        [3, 9, 3],
        [{"fill": "solid", "color": "red"}, {"color": "blue", "fill": "solid"}, {"color": "red"}],
    ),
]


def test_category_and_attribute_ids_follow_sorted_order() -> None:
    labels = ObjectLabels.from_images(dict(enumerate(IMAGES)))
    assert labels.object_count == 3
    assert labels.objects.tolist() == [[1, 0, -100], [-100, -100, -100], [0, 2, 0]]
    # Sorted: (color=blue, fill=solid), (color=red,), (color=red, fill=solid); in any order of keys.
    assert labels.attribute_count == 3
    assert labels.attributes.tolist() == [[2, -100, -100], [-100, -100, -100], [2, 0, 1]]


def test_batch_selects_rows_and_truncates_to_object_count() -> None:
    batch = ObjectLabels.from_images(dict(enumerate(IMAGES))).batch(torch.tensor([0, 0, 1]), objects=2)
    ids, weights = batch["obj"]
    assert ids.tolist() == [[1, 0], [1, 0], [IGNORED_LABEL, IGNORED_LABEL]]
    assert weights.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    assert batch["attr"][0].tolist() == [[2, IGNORED_LABEL]] * 2 + [[IGNORED_LABEL, IGNORED_LABEL]]


def test_rows_without_image_have_no_labels() -> None:
    labels = ObjectLabels.from_images({3: IMAGES[0], 1: IMAGES[2]})
    assert labels.objects.tolist() == [[-100] * 3, [0, 2, 0], [-100] * 3, [1, 0, -100]]


def test_images_without_objects_give_class_counts_of_one() -> None:
    labels = ObjectLabels.from_images({0: coco_image(1, [], []), 1: coco_image(2, [], [])})
    assert (labels.object_count, labels.attribute_count) == (1, 1)
    assert labels.objects.shape == (2, 0)


def regions(objects: list[int] | None, attributes: list[int] | None = None) -> Regions:
    count = 2 if objects is None else len(objects)
    return Regions(
        boxes_xyxy_px=torch.tensor([[0.0, 0.0, 5.0, 5.0]] * count).reshape(-1, 4),
        features=torch.zeros(count, 3),
        size_hw=(30, 40),
        extractor="test",
        object_ids=None if objects is None else torch.tensor(objects, dtype=torch.int64),
        attribute_ids=None if attributes is None else torch.tensor(attributes, dtype=torch.int64),
    )


def test_labels_from_regions_are_detector_ids() -> None:
    labels = ObjectLabels.from_regions([regions([4, 1, 2], [0, 6, 3]), regions([], []), regions([5], [2])])
    assert labels is not None
    assert labels.objects.tolist() == [[4, 1, 2], [-100, -100, -100], [5, -100, -100]]
    assert labels.attributes.tolist() == [[0, 6, 3], [-100, -100, -100], [2, -100, -100]]
    assert (labels.object_count, labels.attribute_count) == (6, 7)


def test_labels_from_regions_without_attributes_ignore_attributes() -> None:
    labels = ObjectLabels.from_regions([regions([1])])
    assert labels is not None
    assert labels.attributes.tolist() == [[-100]]
    assert labels.attribute_count == 1


def test_labels_from_regions_without_object_ids_are_none() -> None:
    assert ObjectLabels.from_regions([regions([1]), regions(None)]) is None


def test_confidences_weight_labels_only_on_request() -> None:
    images = [regions([4, 1], [0, 6]), regions([5])]
    confidences = [0.25, 0.5]
    images[0] = Regions(
        boxes_xyxy_px=images[0].boxes_xyxy_px,
        features=images[0].features,
        size_hw=(30, 40),
        extractor="test",
        object_ids=images[0].object_ids,
        object_scores=torch.tensor(confidences),
        attribute_ids=images[0].attribute_ids,
    )
    labels = ObjectLabels.from_regions(images)
    assert labels is not None
    rows = torch.tensor([1, 0])
    batch = labels.batch(rows, 2, confidences=True)
    # The second image says no confidence of its object, and no attribute.
    assert batch["obj"][1].tolist() == [[1.0, 0.0], confidences]
    assert batch["attr"][1].tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert labels.batch(rows, 2)["obj"][1].tolist() == [[1.0, 0.0], [1.0, 1.0]]

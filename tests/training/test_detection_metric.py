"""Mean average precision against hand computation and a second implementation of its definition."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.training.metrics.detection import ScoredBoxes, TrueBoxes, score_detections

Box = tuple[float, float, float, float]
A: Box = (0, 0, 10, 10)
B: Box = (20, 0, 30, 10)
C: Box = (40, 40, 60, 50)


def found(*items: tuple[Box, int, float], attributes: Sequence[int] | None = None) -> ScoredBoxes:
    return ScoredBoxes(
        torch.tensor([box for box, _, _ in items], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([class_id for _, class_id, _ in items], dtype=torch.int64),
        torch.tensor([score for _, _, score in items], dtype=torch.float32),
        None if attributes is None else torch.tensor(attributes, dtype=torch.int64),
    )


def truth(*items: tuple[Box, int], attributes: Sequence[Sequence[int]] | None = None) -> TrueBoxes:
    return TrueBoxes(
        torch.tensor([box for box, _ in items], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([class_id for _, class_id in items], dtype=torch.int64),
        [()] * len(items) if attributes is None else attributes,
    )


def test_perfect_detections_score_one_hundred_percent() -> None:
    report = score_detections(
        [found((A, 0, 0.9), (B, 3, 0.2), attributes=[4, 5]), found((C, 3, 0.1), attributes=[6])],
        [truth((A, 0), (B, 3), attributes=[(4,), (1, 5)]), truth((C, 3), attributes=[(6,)])],
    )
    assert report.mean_average_precision == 100
    assert report.average_precision == {0: 100, 3: 100}
    assert report.attribute_accuracy == 100
    assert report.recall == 100


def test_no_detections_score_zero() -> None:
    report = score_detections([found(), found()], [truth((A, 0)), truth((B, 1))])
    assert report.mean_average_precision == 0
    assert report.average_precision == {0: 0, 1: 0}
    assert report.attribute_accuracy is None
    assert report.recall == 0


def test_images_without_true_boxes_score_zero_without_error() -> None:
    report = score_detections([found((A, 0, 0.9))], [truth()])
    assert (report.mean_average_precision, report.average_precision, report.recall) == (0, {}, 0)
    assert score_detections([], []).mean_average_precision == 0


def test_duplicate_detection_is_false_positive_and_lowers_later_precision() -> None:
    # Ranked: right, duplicate, right. Precision where recall rises: 1 and 2/3.
    report = score_detections([found((A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7))], [truth((A, 0), (B, 0))])
    assert report.mean_average_precision == pytest.approx(100 * (1 + 2 / 3) / 2)
    # A duplicate at the end costs nothing.
    report = score_detections([found((A, 0, 0.9), (B, 0, 0.8), (A, 0, 0.7))], [truth((A, 0), (B, 0))])
    assert report.mean_average_precision == 100


def test_average_precision_uses_best_precision_at_any_higher_recall() -> None:
    # Ranked: wrong, right, right; raw precision 0, 1/2, 2/3, so 2/3 counts at both steps.
    report = score_detections([found((C, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7))], [truth((A, 0), (B, 0))])
    assert report.mean_average_precision == pytest.approx(100 * 2 / 3)


def test_missed_boxes_lower_average_precision_and_recall() -> None:
    report = score_detections([found((A, 0, 0.9)), found()], [truth((A, 0)), truth((B, 0), (C, 0))])
    assert report.mean_average_precision == pytest.approx(100 / 3)
    assert report.recall == pytest.approx(100 / 3)


def test_detections_match_only_same_class_and_image_and_classes_weigh_equally() -> None:
    # Class 0: found in the wrong image. Class 1: right, three times. Class 2 does not occur.
    report = score_detections(
        [found((A, 1, 0.9), (B, 2, 0.9)), found((A, 0, 0.9), (B, 1, 0.8), (C, 1, 0.7))],
        [truth((A, 1), (B, 0)), truth((B, 1), (C, 1))],
    )
    assert list(report.average_precision.items()) == [(0, 0), (1, 100)]
    assert report.mean_average_precision == 50


def test_detections_are_ranked_across_all_images() -> None:
    # Ranked over both images: wrong (0.9), right (0.8), right (0.3).
    report = score_detections(
        [found((A, 0, 0.3)), found((C, 0, 0.9), (B, 0, 0.8))], [truth((A, 0)), truth((B, 0))]
    )
    assert report.mean_average_precision == pytest.approx(100 * 2 / 3)


def test_detections_of_equal_score_are_ranked_in_given_order() -> None:
    right_first = score_detections([found((A, 0, 0.5), (C, 0, 0.5))], [truth((A, 0))])
    wrong_first = score_detections([found((C, 0, 0.5), (A, 0, 0.5))], [truth((A, 0))])
    assert right_first.mean_average_precision == 100
    assert wrong_first.mean_average_precision == 50


def test_iou_equal_to_threshold_matches_and_below_does_not() -> None:
    # 10 × 10 against 5 × 10 inside it: 0.5.
    half: Box = (0, 0, 5, 10)
    less: Box = (0, 0, 4.99, 10)
    assert score_detections([found((half, 0, 0.5))], [truth((A, 0))]).mean_average_precision == 100
    assert score_detections([found((less, 0, 0.5))], [truth((A, 0))]).mean_average_precision == 0
    assert score_detections([found((less, 0, 0.5))], [truth((A, 0))], 0.4).mean_average_precision == 100


def test_detection_matches_free_true_box_with_largest_iou() -> None:
    shifted: Box = (1, 0, 11, 10)
    # The best takes A although it comes second in the list; the next gets the other, still far enough alike.
    report = score_detections([found((A, 0, 0.9), (A, 0, 0.8))], [truth((shifted, 0), (A, 0))])
    assert report.mean_average_precision == 100


def test_attribute_accuracy_counts_found_boxes_with_attributes() -> None:
    report = score_detections(
        [
            found((A, 0, 0.6), (A, 1, 0.9), (B, 0, 0.5), attributes=[7, 8, 9]),
            found((C, 0, 0.6), attributes=[7]),
        ],
        [
            # A: the best-scored detection, of another class, says 8. B has no attribute. C was not found.
            truth((A, 0), (B, 0), (C, 0), attributes=[(8, 2), (), (3,)]),
            truth((C, 0), attributes=[(1, 2)]),
        ],
    )
    assert report.attribute_accuracy == 50
    assert report.recall == 75


def test_detector_without_attributes_has_no_attribute_accuracy() -> None:
    report = score_detections([found((A, 0, 0.9))], [truth((A, 0), attributes=[(3,)])])
    assert (report.attribute_accuracy, report.recall) == (None, 100)


def iou_by_definition(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def average_precision_by_definition(
    detections: list[tuple[int, Box, int, float]], truths: list[tuple[int, Box, int]], class_id: int
) -> float:
    """One class over all images: rank, match each to a true box, then sum the area under the curve."""
    ranked = sorted((item for item in detections if item[2] == class_id), key=lambda item: -item[3])
    free = [item for item in truths if item[2] == class_id]
    true_count, correct = len(free), []
    for image, box, _, _ in ranked:
        candidates = [item for item in free if item[0] == image]
        best = max(candidates, key=lambda item: iou_by_definition(box, item[1]), default=None)
        taken = best is not None and iou_by_definition(box, best[1]) >= 0.5
        correct.append(taken)
        if taken and best is not None:
            free.remove(best)
    total = 0.0
    for step in range(1, true_count + 1):
        # The best precision at any cut that reaches this recall.
        cuts = [sum(correct[:end]) / end for end in range(1, len(correct) + 1) if sum(correct[:end]) >= step]
        total += max(cuts, default=0.0) / true_count
    return 100 * total


corner = st.integers(0, 6)
side = st.integers(1, 6)
box = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)), corner, corner, side, side
)
class_id = st.integers(0, 2)
image = st.tuples(
    # Few distinct scores, so that ties are common.
    st.lists(st.tuples(box, class_id, st.integers(1, 8).map(lambda score: score / 8)), max_size=7),
    st.lists(st.tuples(box, class_id), max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(image, max_size=4))
def test_average_precision_agrees_with_definition(images: list[tuple[list, list]]) -> None:
    report = score_detections(
        [found(*detections) for detections, _ in images], [truth(*truths) for _, truths in images]
    )
    # Images one after the other, best first within each: then a stable sort breaks ties alike.
    detections = [
        (index, *item)
        for index, (ours, _) in enumerate(images)
        for item in sorted(ours, key=lambda item: -item[2])
    ]
    truths = [(index, *item) for index, (_, theirs) in enumerate(images) for item in theirs]
    expected = {
        class_id: average_precision_by_definition(detections, truths, class_id)
        for class_id in {item[2] for item in truths}
    }
    assert report.average_precision == pytest.approx(expected)
    mean = sum(expected.values()) / len(expected) if expected else 0
    assert report.mean_average_precision == pytest.approx(mean)

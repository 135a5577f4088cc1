"""Mean average precision against hand computation and a second program written from the definition."""

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
        torch.tensor([number for _, number, _ in items], dtype=torch.int64),
        torch.tensor([score for _, _, score in items], dtype=torch.float32),
        None if attributes is None else torch.tensor(attributes, dtype=torch.int64),
    )


def true(*items: tuple[Box, int], attributes: Sequence[Sequence[int]] | None = None) -> TrueBoxes:
    return TrueBoxes(
        torch.tensor([box for box, _ in items], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([number for _, number in items], dtype=torch.int64),
        [()] * len(items) if attributes is None else attributes,
    )


def test_all_found_and_nothing_else_is_a_hundred_percent() -> None:
    report = score_detections(
        [found((A, 0, 0.9), (B, 3, 0.2), attributes=[4, 5]), found((C, 3, 0.1), attributes=[6])],
        [true((A, 0), (B, 3), attributes=[(4,), (1, 5)]), true((C, 3), attributes=[(6,)])],
    )
    assert report.mean_average_precision == 100
    assert report.average_precision == {0: 100, 3: 100}
    assert report.attribute_accuracy == 100
    assert report.recall == 100


def test_nothing_found_is_zero() -> None:
    report = score_detections([found(), found()], [true((A, 0)), true((B, 1))])
    assert report.mean_average_precision == 0
    assert report.average_precision == {0: 0, 1: 0}
    assert report.attribute_accuracy is None
    assert report.recall == 0


def test_nothing_to_find_gives_figures_without_meaning_but_no_crash() -> None:
    report = score_detections([found((A, 0, 0.9))], [true()])
    assert (report.mean_average_precision, report.average_precision, report.recall) == (0, {}, 0)
    assert score_detections([], []).mean_average_precision == 0


def test_a_duplicate_is_wrong_and_costs_what_comes_after_it() -> None:
    # Ranked: right, duplicate, right. Precision where recall rises: 1 and 2/3.
    report = score_detections([found((A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7))], [true((A, 0), (B, 0))])
    assert report.mean_average_precision == pytest.approx(100 * (1 + 2 / 3) / 2)
    # A duplicate at the end costs nothing.
    report = score_detections([found((A, 0, 0.9), (B, 0, 0.8), (A, 0, 0.7))], [true((A, 0), (B, 0))])
    assert report.mean_average_precision == 100


def test_precision_never_rises_with_recall_in_the_sum() -> None:
    # Ranked: wrong, right, right; raw precision 0, 1/2, 2/3, so 2/3 counts at both steps.
    report = score_detections([found((C, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7))], [true((A, 0), (B, 0))])
    assert report.mean_average_precision == pytest.approx(100 * 2 / 3)


def test_a_missed_box_takes_its_share() -> None:
    report = score_detections([found((A, 0, 0.9)), found()], [true((A, 0)), true((B, 0), (C, 0))])
    assert report.mean_average_precision == pytest.approx(100 / 3)
    assert report.recall == pytest.approx(100 / 3)


def test_classes_and_images_are_kept_apart_and_weigh_the_same() -> None:
    # Class 0: found in the wrong image. Class 1: right, three times. Class 2 does not occur.
    report = score_detections(
        [found((A, 1, 0.9), (B, 2, 0.9)), found((A, 0, 0.9), (B, 1, 0.8), (C, 1, 0.7))],
        [true((A, 1), (B, 0)), true((B, 1), (C, 1))],
    )
    assert list(report.average_precision.items()) == [(0, 0), (1, 100)]
    assert report.mean_average_precision == 50


def test_the_ranking_is_over_all_images() -> None:
    # Ranked over both images: wrong (0.9), right (0.8), right (0.3).
    report = score_detections(
        [found((A, 0, 0.3)), found((C, 0, 0.9), (B, 0, 0.8))], [true((A, 0)), true((B, 0))]
    )
    assert report.mean_average_precision == pytest.approx(100 * 2 / 3)


def test_of_equal_scores_the_first_counts_first() -> None:
    right_first = score_detections([found((A, 0, 0.5), (C, 0, 0.5))], [true((A, 0))])
    wrong_first = score_detections([found((C, 0, 0.5), (A, 0, 0.5))], [true((A, 0))])
    assert right_first.mean_average_precision == 100
    assert wrong_first.mean_average_precision == 50


def test_exactly_half_an_overlap_is_enough_and_less_is_not() -> None:
    # 10 × 10 against 5 × 10 inside it: 0.5.
    half: Box = (0, 0, 5, 10)
    less: Box = (0, 0, 4.99, 10)
    assert score_detections([found((half, 0, 0.5))], [true((A, 0))]).mean_average_precision == 100
    assert score_detections([found((less, 0, 0.5))], [true((A, 0))]).mean_average_precision == 0
    assert score_detections([found((less, 0, 0.5))], [true((A, 0))], 0.4).mean_average_precision == 100


def test_a_detection_takes_the_free_box_that_it_overlaps_most() -> None:
    shifted: Box = (1, 0, 11, 10)
    # The best takes A although it comes second in the list; the next gets the other, still far enough alike.
    report = score_detections([found((A, 0, 0.9), (A, 0, 0.8))], [true((shifted, 0), (A, 0))])
    assert report.mean_average_precision == 100


def test_attributes_count_where_boxes_were_found_and_have_some() -> None:
    report = score_detections(
        [
            found((A, 0, 0.6), (A, 1, 0.9), (B, 0, 0.5), attributes=[7, 8, 9]),
            found((C, 0, 0.6), attributes=[7]),
        ],
        [
            # A: the best-scored detection, of another class, says 8. B has no attribute. C was not found.
            true((A, 0), (B, 0), (C, 0), attributes=[(8, 2), (), (3,)]),
            true((C, 0), attributes=[(1, 2)]),
        ],
    )
    assert report.attribute_accuracy == 50
    assert report.recall == 75


def test_a_detector_without_attributes_has_no_attribute_accuracy() -> None:
    report = score_detections([found((A, 0, 0.9))], [true((A, 0), attributes=[(3,)])])
    assert (report.attribute_accuracy, report.recall) == (None, 100)


def overlap_by_definition(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def average_precision_by_definition(
    detections: list[tuple[int, Box, int, float]], truths: list[tuple[int, Box, int]], number: int
) -> float:
    """One class over all images: rank, let each take a box, then add up the area step by step of recall."""
    ranked = sorted((item for item in detections if item[2] == number), key=lambda item: -item[3])
    free = [item for item in truths if item[2] == number]
    wanted, right = len(free), []
    for image, box, _, _ in ranked:
        candidates = [item for item in free if item[0] == image]
        best = max(candidates, key=lambda item: overlap_by_definition(box, item[1]), default=None)
        taken = best is not None and overlap_by_definition(box, best[1]) >= 0.5
        right.append(taken)
        if taken and best is not None:
            free.remove(best)
    total = 0.0
    for step in range(1, wanted + 1):
        # The best precision at any cut that reaches this recall.
        cuts = [sum(right[:end]) / end for end in range(1, len(right) + 1) if sum(right[:end]) >= step]
        total += max(cuts, default=0.0) / wanted
    return 100 * total


corner = st.integers(0, 6)
side = st.integers(1, 6)
box = st.builds(
    lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)), corner, corner, side, side
)
number = st.integers(0, 2)
image = st.tuples(
    # Few distinct scores, so that ties are common.
    st.lists(st.tuples(box, number, st.integers(1, 8).map(lambda score: score / 8)), max_size=7),
    st.lists(st.tuples(box, number), max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(image, max_size=4))
def test_agrees_with_the_definition(images: list[tuple[list, list]]) -> None:
    report = score_detections(
        [found(*detections) for detections, _ in images], [true(*truths) for _, truths in images]
    )
    # Images one after the other, best first within each: then a stable sort breaks ties alike.
    detections = [
        (index, *item)
        for index, (ours, _) in enumerate(images)
        for item in sorted(ours, key=lambda item: -item[2])
    ]
    truths = [(index, *item) for index, (_, theirs) in enumerate(images) for item in theirs]
    expected = {
        number: average_precision_by_definition(detections, truths, number)
        for number in {item[2] for item in truths}
    }
    assert report.average_precision == pytest.approx(expected)
    mean = sum(expected.values()) / len(expected) if expected else 0
    assert report.mean_average_precision == pytest.approx(mean)

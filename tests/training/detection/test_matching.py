"""Matching and sampling, against hand computation and against loops written from the definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.training.detection.matching import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    match_boxes,
    sample_candidates,
)


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


# Overlaps with the first true box: 1, 0.5 (half of it), 0.3 (three tenths of it), 0.
TRUE = boxes((0, 0, 10, 10), (100, 0, 110, 10))
CANDIDATES = boxes((0, 0, 10, 10), (0, 0, 5, 10), (0, 0, 3, 10), (50, 50, 60, 60), (102, 0, 112, 10))


def test_thresholds_separate_positive_ignored_and_negative_candidates() -> None:
    matches = match_boxes(CANDIDATES, TRUE, positive_from=0.5, negative_below=0.3)
    # 0.5 is enough; 0.3 is not below 0.3; the last overlaps the second box by 8 / 12.
    assert matches.labels.tolist() == [POSITIVE, POSITIVE, IGNORED, NEGATIVE, POSITIVE]
    assert matches.targets[[0, 1, 2, 4]].tolist() == [0, 0, 0, 1]


def test_equal_thresholds_ignore_nothing() -> None:
    matches = match_boxes(CANDIDATES, TRUE, positive_from=0.6, negative_below=0.6)
    assert matches.labels.tolist() == [POSITIVE, NEGATIVE, NEGATIVE, NEGATIVE, POSITIVE]


def test_low_quality_matches_make_best_candidate_of_box_positive() -> None:
    candidates = boxes((0, 0, 3, 10), (7, 0, 10, 10), (0, 0, 2, 10), (50, 50, 60, 60))
    plain = match_boxes(candidates, TRUE[:1], positive_from=0.7, negative_below=0.3)
    assert plain.labels.tolist() == [IGNORED, IGNORED, NEGATIVE, NEGATIVE]
    # Both best ones, which are equal; what touches no box never.
    best = match_boxes(
        candidates, TRUE[:1], positive_from=0.7, negative_below=0.3, allow_low_quality_matches=True
    )
    assert best.labels.tolist() == [POSITIVE, POSITIVE, NEGATIVE, NEGATIVE]
    far = match_boxes(
        candidates, TRUE[1:], positive_from=0.7, negative_below=0.3, allow_low_quality_matches=True
    )
    assert far.labels.tolist() == [NEGATIVE] * 4


def test_low_quality_match_targets_box_with_largest_overlap() -> None:
    # The only candidate overlaps the large box by 0.8 and the small one by 0.1.
    true = boxes((0, 0, 10, 10), (0, 0, 1, 8))
    matches = match_boxes(
        boxes((0, 0, 10, 8)), true, positive_from=0.9, negative_below=0.3, allow_low_quality_matches=True
    )
    assert (matches.labels.tolist(), matches.targets.tolist()) == ([POSITIVE], [0])


def test_no_true_boxes_label_all_negative_and_no_candidates_give_no_labels() -> None:
    matches = match_boxes(
        CANDIDATES, boxes(), positive_from=0.5, negative_below=0.3, allow_low_quality_matches=True
    )
    assert matches.labels.tolist() == [NEGATIVE] * 5
    for allow_low_quality_matches in (False, True):
        none = match_boxes(
            boxes(),
            TRUE[:0],
            positive_from=0.5,
            negative_below=0.3,
            allow_low_quality_matches=allow_low_quality_matches,
        )
        assert none.labels.tolist() == []


corner = st.integers(0, 8)
side = st.integers(1, 6)
box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corner, corner, side, side)


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    width = max(min(one[2], other[2]) - max(one[0], other[0]), 0)
    height = max(min(one[3], other[3]) - max(one[1], other[1]), 0)
    areas = [(some[2] - some[0]) * (some[3] - some[1]) for some in (one, other)]
    return width * height / (sum(areas) - width * height)


@settings(max_examples=80, deadline=None)
@given(
    candidates=st.lists(box, min_size=1, max_size=9),
    true=st.lists(box, min_size=1, max_size=5),
    low=st.sampled_from([0.25, 0.3]),
    high=st.sampled_from([0.5, 0.7]),
)
def test_match_boxes_agrees_with_definition(
    candidates: list[tuple[int, ...]], true: list[tuple[int, ...]], low: float, high: float
) -> None:
    table = [[overlap(one, other) for other in true] for one in candidates]
    best_of_box = [max(row[column] for row in table) for column in range(len(true))]
    expected = []
    for row in table:
        is_best = any(value == best > 0 for value, best in zip(row, best_of_box, strict=True))
        if max(row) >= high or is_best:
            expected.append(POSITIVE)
        else:
            expected.append(NEGATIVE if max(row) < low else IGNORED)
    matches = match_boxes(
        torch.tensor(candidates, dtype=torch.float32),
        torch.tensor(true, dtype=torch.float32),
        positive_from=high,
        negative_below=low,
        allow_low_quality_matches=True,
    )
    near = [any(abs(value - edge) < 1e-6 for edge in (low, high)) for row in table for value in row]
    if not any(near):
        assert matches.labels.tolist() == expected
    assert [row[column] for row, column in zip(table, matches.targets.tolist(), strict=True)] == [
        max(row) for row in table
    ]


@settings(max_examples=80, deadline=None)
@given(
    labels=st.lists(st.sampled_from([POSITIVE, NEGATIVE, IGNORED]), max_size=30),
    count=st.integers(1, 20),
    share=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_sample_candidates_draws_distinct_positives_and_negatives_up_to_limits(
    labels: list[int], count: int, share: float
) -> None:
    positive, negative = sample_candidates(torch.tensor(labels, dtype=torch.int64), count, share)
    ours, others = positive.tolist(), negative.tolist()
    assert all(labels[index] == POSITIVE for index in ours)
    assert all(labels[index] == NEGATIVE for index in others)
    assert len(set(ours + others)) == len(ours) + len(others)
    assert len(ours) == min(labels.count(POSITIVE), int(count * share))
    assert len(others) == min(labels.count(NEGATIVE), count - len(ours))


def test_every_candidate_is_drawn_about_as_often_as_any_other() -> None:
    labels = torch.tensor([POSITIVE, NEGATIVE] * 10)
    counts = torch.zeros(20)
    for _ in range(400):
        for drawn in sample_candidates(labels, 8, 0.5):
            counts[drawn] += 1
    # Each of ten is among four with probability 0.4: 160 ± 10 of 400.
    assert counts.min() > 110
    assert counts.max() < 210


def test_sampling_follows_global_torch_generator() -> None:
    labels = torch.tensor([POSITIVE] * 50 + [NEGATIVE] * 50)
    torch.manual_seed(3)
    first = sample_candidates(labels, 10, 0.5)
    second = sample_candidates(labels, 10, 0.5)
    torch.manual_seed(3)
    again = sample_candidates(labels, 10, 0.5)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("count", [1, 3])
def test_share_too_small_for_one_positive_selects_only_background(count: int) -> None:
    labels = torch.tensor([POSITIVE] * 5 + [NEGATIVE] * 5)
    positive, negative = sample_candidates(labels, count, 0.25)
    assert (len(positive), len(negative)) == (0, count)

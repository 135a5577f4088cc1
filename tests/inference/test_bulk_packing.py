"""Bulk packing: windows of questions, groups of duplicates, batches within a token budget."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert.errors import ConfigurationError
from lxmert.inference import bulk_packing
from lxmert.inference.bulk_packing import (
    BatchLimits,
    TokenizedQuestion,
    WindowLimits,
    group_duplicates,
    pack,
    split_into_windows,
)

SIZES = st.lists(st.tuples(st.integers(3, 20), st.integers(1, 40)), min_size=1, max_size=120)


def padded_tokens(batch: list[int], words: list[int], objects: list[int], images: int) -> int:
    return len(batch) * images * (max(words[row] for row in batch) + max(objects[row] for row in batch))


@given(sizes=SIZES, images=st.sampled_from([1, 2]), tokens=st.integers(1, 600))
def test_every_question_is_in_one_batch_within_the_budget(
    sizes: list[tuple[int, int]], images: int, tokens: int
) -> None:
    words, objects = [size[0] for size in sizes], [size[1] for size in sizes]
    batches = pack(words, objects, images, BatchLimits(tokens=tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or padded_tokens(batch, words, objects, images) <= tokens


def test_pack_groups_similar_lengths_with_little_padding() -> None:
    generator = np.random.default_rng(3)
    words = generator.integers(3, 21, 2000).tolist()
    objects = generator.integers(10, 101, 2000).tolist()
    batches = pack(words, objects, 1, BatchLimits(tokens=3072))
    unpadded = sum(words) + sum(objects)
    assert sum(padded_tokens(batch, words, objects, 1) for batch in batches) < 1.12 * unpadded
    # In the order of the questions a third would be padding.
    assert padded_tokens(list(range(2000)), words, objects, 1) > 1.5 * unpadded


def test_batches_fill_token_and_question_limits() -> None:
    batches = pack([10] * 100, [36] * 100, 1, unit_cost_limits(tokens=46 * 30 + 45))
    assert sorted(map(len, batches)) == [10, 30, 30, 30]
    assert sorted(map(len, pack([10] * 7, [36] * 7, 2, unit_cost_limits(tokens=46 * 6)))) == [1, 3, 3]
    assert sorted(map(len, pack([10] * 7, [36] * 7, 2, unit_cost_limits(questions=5)))) == [2, 5]


def unit_cost_limits(**maxima: int) -> BatchLimits:
    return BatchLimits(**maxima, fixed_tokens=1)


def test_pack_considers_no_batch_larger_than_shortest_questions_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    considered_sizes = []

    def suffix_maximum(lengths: np.ndarray) -> np.ndarray:
        considered_sizes.append(len(lengths))
        return np.maximum.accumulate(lengths[::-1])[::-1]

    monkeypatch.setattr(bulk_packing, "_suffix_maximum", suffix_maximum)
    pack([4, 9] * 20, [6] * 40, 2, BatchLimits(tokens=100))
    assert max(considered_sizes) == 100 // (2 * (4 + 6))
    assert pack([], [], 2, BatchLimits(tokens=100)) == []


def test_pack_trades_padding_against_fixed_cost_per_batch() -> None:
    # Six questions of 5 tokens and four of 8: together 18 tokens are padding.
    for fixed, batches in ((17, [6, 4]), (19, [10])):
        packed = pack([4] * 6 + [7] * 4, [1] * 10, 1, BatchLimits(fixed_tokens=fixed))
        assert [len(batch) for batch in packed] == batches


@given(
    words=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    fixed=st.integers(0, 30),
    tokens=st.integers(5, 60),
)
def test_pack_minimizes_cost_over_all_splits_of_sorted_questions(
    words: list[int], fixed: int, tokens: int
) -> None:
    def cost(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(words[row] for row in batch) + fixed for batch in batches)

    def fits(batch: list[int]) -> bool:
        return len(batch) == 1 or len(batch) * max(words[row] for row in batch) <= tokens

    order = sorted(range(len(words)), key=words.__getitem__)
    cuts = range(2 ** (len(words) - 1))
    edges = [[0, *(at for at in range(1, len(words)) if cut >> (at - 1) & 1), len(words)] for cut in cuts]
    splits = [[order[a:b] for a, b in pairwise(ends)] for ends in edges]
    minimum = min(cost(batches) for batches in splits if all(map(fits, batches)))
    limits = BatchLimits(tokens=tokens, fixed_tokens=fixed)
    assert cost(pack(words, [0] * len(words), 1, limits)) == minimum


def test_group_duplicates_groups_equal_questions_about_same_images() -> None:
    one, other = np.array([1, 7, 2]), np.array([1, 8, 2])
    asked = [
        TokenizedQuestion(one, ("a",)),
        TokenizedQuestion(other, ("a",)),
        TokenizedQuestion(one, ("b",)),
        TokenizedQuestion(one.copy(), ("a",)),
    ]
    assert group_duplicates(asked) == [[0, 3], [1], [2]]
    pairs = [
        TokenizedQuestion(one, ("a", "b")),
        TokenizedQuestion(one, ("b", "a")),
        TokenizedQuestion(one, ("a", "b")),
    ]
    assert group_duplicates(pairs) == [[0, 2], [1]]


def test_windows_keep_the_order_and_their_limits() -> None:
    images = [[0], [0], [1], [0, 1], [2], [3], [3], [3], [3], [4, 5]]
    windows = list(split_into_windows(range(10), images.__getitem__, WindowLimits(questions=4, images=2)))
    assert windows == [[0, 1, 2, 3], [4, 5, 6, 7], [8], [9]]
    # More images than a window may have are one window all the same.
    assert list(split_into_windows(range(10), images.__getitem__, WindowLimits(images=1)))[-1] == [9]
    assert list(split_into_windows([], images.__getitem__, WindowLimits())) == []


@pytest.mark.parametrize("items_before_error", [0, 3, 4])
def test_window_before_source_error_is_yielded_first(items_before_error: int) -> None:
    def items() -> Iterator[int]:
        yield from range(items_before_error)
        raise ConfigurationError("no item")

    windows = split_into_windows(items(), lambda item: (item,), WindowLimits(questions=4))
    if items_before_error:
        assert next(windows) == list(range(items_before_error))
    with pytest.raises(ConfigurationError, match="no item"):
        next(windows)


def test_window_is_yielded_before_next_one_is_read() -> None:
    taken = []

    def items() -> object:
        for item in range(100):
            taken.append(item)
            yield item

    first = next(split_into_windows(items(), lambda item: (item,), WindowLimits(questions=8)))
    assert (first, len(taken)) == (list(range(8)), 9)


def test_limits_below_one_are_rejected() -> None:
    with pytest.raises(ConfigurationError, match="0 tokens"):
        BatchLimits(tokens=0)
    with pytest.raises(ConfigurationError, match="-1 questions"):
        BatchLimits(questions=-1)
    with pytest.raises(ConfigurationError, match="0 images"):
        WindowLimits(images=0)

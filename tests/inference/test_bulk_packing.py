"""Windows, equal questions, batches within a budget."""

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
    return len(batch) * images * (max(words[one] for one in batch) + max(objects[one] for one in batch))


@given(sizes=SIZES, images=st.sampled_from([1, 2]), tokens=st.integers(1, 600))
def test_every_question_is_in_one_batch_within_the_budget(
    sizes: list[tuple[int, int]], images: int, tokens: int
) -> None:
    words, objects = [size[0] for size in sizes], [size[1] for size in sizes]
    batches = pack(words, objects, images, BatchLimits(tokens=tokens))
    assert sorted(one for batch in batches for one in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or padded_tokens(batch, words, objects, images) <= tokens


def test_like_lengths_share_a_batch_so_that_little_is_padded() -> None:
    choose = np.random.default_rng(3)
    words = choose.integers(3, 21, 2000).tolist()
    objects = choose.integers(10, 101, 2000).tolist()
    batches = pack(words, objects, 1, BatchLimits(tokens=3072))
    really = sum(words) + sum(objects)
    assert sum(padded_tokens(batch, words, objects, 1) for batch in batches) < 1.12 * really
    # In the order of the questions a third would be padding.
    assert padded_tokens(list(range(2000)), words, objects, 1) > 1.5 * really


def test_batches_are_as_large_as_they_may_be() -> None:
    batches = pack([10] * 100, [36] * 100, 1, limits(tokens=46 * 30 + 45))
    assert sorted(map(len, batches)) == [10, 30, 30, 30]
    assert sorted(map(len, pack([10] * 7, [36] * 7, 2, limits(tokens=46 * 6)))) == [1, 3, 3]
    assert sorted(map(len, pack([10] * 7, [36] * 7, 2, limits(questions=5)))) == [2, 5]


def limits(**most: int) -> BatchLimits:
    return BatchLimits(**most, fixed_tokens=1)


def test_batches_larger_than_the_shortest_questions_would_make_are_not_weighed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = []

    def longest_from(lengths: np.ndarray) -> np.ndarray:
        most.append(len(lengths))
        return np.maximum.accumulate(lengths[::-1])[::-1]

    monkeypatch.setattr(bulk_packing, "_suffix_maximum", longest_from)
    pack([4, 9] * 20, [6] * 40, 2, BatchLimits(tokens=100))
    assert max(most) == 100 // (2 * (4 + 6))
    assert pack([], [], 2, BatchLimits(tokens=100)) == []


def test_padding_is_weighed_against_a_batch_more() -> None:
    # Six questions of 5 tokens and four of 8: together 18 tokens are padding.
    for fixed, batches in ((17, [6, 4]), (19, [10])):
        packed = pack([4] * 6 + [7] * 4, [1] * 10, 1, BatchLimits(fixed_tokens=fixed))
        assert [len(batch) for batch in packed] == batches


@given(
    words=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    fixed=st.integers(0, 30),
    tokens=st.integers(5, 60),
)
def test_no_other_cut_of_the_sorted_questions_is_less_work(words: list[int], fixed: int, tokens: int) -> None:
    def work(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(words[one] for one in batch) + fixed for batch in batches)

    def fits(batch: list[int]) -> bool:
        return len(batch) == 1 or len(batch) * max(words[one] for one in batch) <= tokens

    order = sorted(range(len(words)), key=words.__getitem__)
    cuts = range(2 ** (len(words) - 1))
    edges = [[0, *(at for at in range(1, len(words)) if cut >> (at - 1) & 1), len(words)] for cut in cuts]
    every = [[order[a:b] for a, b in pairwise(ends)] for ends in edges]
    least = min(work(batches) for batches in every if all(map(fits, batches)))
    limits = BatchLimits(tokens=tokens, fixed_tokens=fixed)
    assert work(pack(words, [0] * len(words), 1, limits)) == least


def test_equal_questions_about_the_same_images_are_found() -> None:
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
    cut = list(split_into_windows(range(10), images.__getitem__, WindowLimits(questions=4, images=2)))
    assert cut == [[0, 1, 2, 3], [4, 5, 6, 7], [8], [9]]
    # More images than a window may have are one window all the same.
    assert list(split_into_windows(range(10), images.__getitem__, WindowLimits(images=1)))[-1] == [9]
    assert list(split_into_windows([], images.__getitem__, WindowLimits())) == []


@pytest.mark.parametrize("good", [0, 3, 4])
def test_what_came_before_a_fault_is_given_first(good: int) -> None:
    def items() -> Iterator[int]:
        yield from range(good)
        raise ConfigurationError("no item")

    cut = split_into_windows(items(), lambda one: (one,), WindowLimits(questions=4))
    if good:
        assert next(cut) == list(range(good))
    with pytest.raises(ConfigurationError, match="no item"):
        next(cut)


def test_a_window_is_given_out_before_the_next_is_asked_for() -> None:
    taken = []

    def items() -> object:
        for one in range(100):
            taken.append(one)
            yield one

    first = next(split_into_windows(items(), lambda one: (one,), WindowLimits(questions=8)))
    assert (first, len(taken)) == (list(range(8)), 9)


def test_limits_that_allow_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 tokens"):
        BatchLimits(tokens=0)
    with pytest.raises(ConfigurationError, match="-1 questions"):
        BatchLimits(questions=-1)
    with pytest.raises(ConfigurationError, match="0 images"):
        WindowLimits(images=0)

"""Masking: rates, replacements, and reproducible random numbers per draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert.data.masking import ObjectMasking, RandomStream, WordMasking, random_generator
from lxmert.errors import ConfigurationError
from tests.data.binomial import assert_binomial_count, binomial_bounds

VOCABULARY, MASK = 1000, 103
RATES = st.tuples(st.floats(0.05, 0.95), st.floats(0, 1), st.floats(0, 1)).map(
    lambda values: (values[0], values[1], (1 - values[1]) * values[2])
)


def uniform_numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def test_binomial_bounds_equal_hand_computed_values() -> None:
    # 10 throws of a fair coin: 0, 1 or 2 heads have the probability 56/1024, 0 or 1 have 11/1024.
    assert binomial_bounds(10, 0.5, tail_probability=0.02) == (2, 8)
    assert binomial_bounds(10, 0.5, tail_probability=0.06) == (3, 7)


def test_random_generator_is_philox_keyed_by_seed_and_draw() -> None:
    # Written out once: another sequence would change what a resumed run sees.
    drawn = random_generator(9595, 2**40 + 7, RandomStream.WORDS)
    key = 9595 + ((2**40 + 7) << 64)
    independent = np.random.Generator(np.random.Philox(key=key, counter=RandomStream.WORDS << 192))
    first = drawn.random((3, 2))
    assert np.array_equal(first, independent.random((3, 2)))
    assert first[0].tolist() == pytest.approx([0.8063532554605022, 0.12451818849257523], abs=1e-15)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**62), st.sampled_from(RandomStream))
def test_random_numbers_differ_per_seed_draw_and_stream(seed: int, draw: int, stream: RandomStream) -> None:
    def first(*arguments: int) -> list[float]:
        return random_generator(arguments[0], arguments[1], RandomStream(arguments[2])).random(4).tolist()

    numbers = first(seed, draw, stream)
    assert numbers == first(seed, draw, stream)
    for other in ((seed + 1, draw, stream), (seed, draw + 1, stream), (seed, draw, (stream + 1) % 4)):
        assert first(*other) != numbers


def test_random_numbers_of_neighbouring_draws_are_uncorrelated() -> None:
    drawn = np.array([random_generator(1, draw, RandomStream.PAIR).random(2) for draw in range(4000)])
    # Correlations of 4,000 independent pairs have a standard deviation of 0.016.
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.1
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.1
    assert_binomial_count(int((drawn[:, 0] < 0.5).sum()), 4000, 0.5)


@settings(max_examples=25, deadline=None)
@given(RATES, st.integers(0, 2**32))
def test_word_masking_follows_configured_rates(rates: tuple[float, float, float], seed: int) -> None:
    shape = (50, 40)
    ids = np.random.default_rng(seed).integers(200, VOCABULARY, shape)
    maskable = np.random.default_rng(seed + 1).random(shape) < 0.8
    shown, labels = WordMasking(*rates).mask(
        ids, maskable, uniform_numbers(seed + 2, *shape, 3), MASK, VOCABULARY
    )
    chosen = labels != -100
    assert not (chosen & ~maskable).any()
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(shown[~chosen], ids[~chosen])
    rate, mask_share, random_share = rates
    assert_binomial_count(int(chosen.sum()), int(maskable.sum()), rate)
    masked = int((shown[chosen] == MASK).sum())
    # A random piece is [MASK] once in a thousand times, and the right one once in a thousand.
    assert_binomial_count(masked, int(chosen.sum()), mask_share + random_share / VOCABULARY)
    other = int(((shown != MASK) & (shown != ids) & chosen).sum())
    assert_binomial_count(other, int(chosen.sum()), random_share * (1 - 2 / VOCABULARY))


def test_random_replacement_words_cover_whole_vocabulary() -> None:
    ids = np.full((200, 50), 5)
    masking = WordMasking(rate=1.0, mask_share=0.0, random_share=1.0)
    shown, _ = masking.mask(ids, np.ones_like(ids, bool), uniform_numbers(0, 200, 50, 3), 1, 7)
    counts = np.bincount(shown.ravel(), minlength=7)
    assert len(counts) == 7
    for count in counts.tolist():
        assert_binomial_count(count, 10_000, 1 / 7)


def test_default_rates_are_0_15_0_8_and_0_1() -> None:
    assert WordMasking() == WordMasking(0.15, 0.8, 0.1)
    assert ObjectMasking() == ObjectMasking(0.15, 0.8, 0.1)


@settings(max_examples=25, deadline=None)
@given(RATES, st.integers(0, 2**32))
def test_object_masking_follows_configured_rates(rates: tuple[float, float, float], seed: int) -> None:
    is_object = np.random.default_rng(seed).random((60, 36)) < 0.7
    chosen, blank, random = ObjectMasking(*rates).choose(is_object, uniform_numbers(seed + 1, 60, 36, 4))
    assert not (chosen & ~is_object).any()
    assert not (blank & random).any()
    assert not ((blank | random) & ~chosen).any()
    rate, zero_share, random_share = rates
    assert_binomial_count(int(chosen.sum()), int(is_object.sum()), rate)
    assert_binomial_count(int(blank.sum()), int(chosen.sum()), zero_share)
    assert_binomial_count(int(random.sum()), int(chosen.sum()), random_share)


@pytest.mark.parametrize("masking", [WordMasking, ObjectMasking])
@pytest.mark.parametrize(
    "values", [(1.1, 0.5, 0.5), (0.5, -0.1, 0.5), (0.1, 0.8, 0.3), (float("nan"), 0.5, 0)]
)
def test_invalid_rates_are_rejected(masking: type, values: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigurationError, match=r"expected 0\.\.1 each"):
        masking(*values)


def test_shares_summing_to_one_within_rounding_are_accepted() -> None:
    assert WordMasking(0.5, 0.9, 0.1).mask_share == 0.9
    assert ObjectMasking(0.5, 0.7, 0.3).random_share == 0.3

"""Masking of words and objects in pre-training.

Source: paper sections 3.1.1 and 3.1.2 and the released pre-training code. Everything random about an example
follows from a seed and the example's draw number alone (Philox, Salmon et al. 2011, a random function of a
counter): neither the rest of the batch nor the number of loaders or processes changes it, nor does
resuming a run.

Shapes: B batch, W words, O objects.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from lxmert.data.task_examples import IGNORED_LABEL
from lxmert.errors import ConfigurationError


class RandomStream(IntEnum):
    """What random numbers are for; each purpose has its own."""

    PAIR = 0
    ANSWER = 1
    WORDS = 2
    OBJECTS = 3


def random_generator(seed: int, draw: int, stream: RandomStream) -> np.random.Generator:
    """Random numbers of one example for one purpose; the same arguments always give the same numbers.

    Args:
        seed: of the run.
        draw: the draw number, epoch · examples + index: which example, in which epoch.
        stream: what they are for.
    """
    # Drawing numbers increments the lowest of the counter's four words.
    counter = np.array([0, 0, 0, stream], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=np.array([seed, draw], np.uint64)))


class MaskChoice(NamedTuple):
    """How each word or object is masked; boolean arrays of the same shape.

    Attributes:
        chosen: True where it must be predicted.
        blank: True where it is shown as a mask or as zeros.
        random: True where a random one is shown in its place.
    """

    chosen: np.ndarray
    blank: np.ndarray
    random: np.ndarray


@dataclass(frozen=True)
class WordMasking:
    """How words are masked.

    Attributes:
        rate: probability that a word piece is chosen to be predicted.
        mask_share: of the chosen, those shown as [MASK].
        random_share: of the chosen, those shown as a random word piece; the rest is shown unchanged.

    Raises:
        ConfigurationError: a value outside 0..1, or shares of more than 1 together.
    """

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self) -> None:
        _check("word masking", self.rate, self.mask_share, self.random_share)

    def mask(
        self,
        token_ids: np.ndarray,
        is_maskable: np.ndarray,
        numbers: np.ndarray,
        mask_token_id: int,
        vocabulary_size: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mask words.

        Args:
            token_ids: (B, W) int64.
            is_maskable: (B, W), False for special tokens and padding.
            numbers: (B, W, 3) random numbers in 0..1.
            mask_token_id: id of [MASK].
            vocabulary_size: the number of word pieces, special ones included.

        Returns:
            the ids as the model sees them, and the true ids of the chosen words, -100 elsewhere; both (B, W).
        """
        hidden = _choose_masked(is_maskable, numbers, self.rate, self.mask_share, self.random_share)
        replacements = (numbers[..., 2] * vocabulary_size).astype(np.int64)
        shown = np.where(hidden.blank, mask_token_id, np.where(hidden.random, replacements, token_ids))
        return shown, np.where(hidden.chosen, token_ids, IGNORED_LABEL)


@dataclass(frozen=True)
class ObjectMasking:
    """How objects are masked; their boxes are always shown.

    Attributes:
        rate: probability that an object is chosen to be predicted.
        zero_share: of the chosen, those whose features are shown as zeros.
        random_share: of the chosen, those shown with the features of a random object of another sentence's
            image; the rest is shown unchanged. The paper has only zeros, the released code these three.

    Raises:
        ConfigurationError: a value outside 0..1, or shares of more than 1 together.
    """

    rate: float = 0.15
    zero_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self) -> None:
        _check("object masking", self.rate, self.zero_share, self.random_share)

    def choose(self, is_object: np.ndarray, numbers: np.ndarray) -> MaskChoice:
        """Choose objects.

        Args:
            is_object: (B, O), False for padding.
            numbers: (B, O, 2 or more) random numbers in 0..1, of which the first two are used.

        Returns:
            how each is masked, (B, O).
        """
        return _choose_masked(is_object, numbers, self.rate, self.zero_share, self.random_share)


def _choose_masked(
    is_maskable: np.ndarray, numbers: np.ndarray, rate: float, blank_share: float, random_share: float
) -> MaskChoice:
    chosen = is_maskable & (numbers[..., 0] < rate)
    number = numbers[..., 1]
    blank = chosen & (number < blank_share)
    return MaskChoice(chosen, blank, chosen & ~blank & (number < blank_share + random_share))


def _check(kind: str, rate: float, blank_share: float, random_share: float) -> None:
    values = (rate, blank_share, random_share)
    # Shares such as 0.9 and 0.1 may add up to a little more than 1 in binary.
    if not all(0 <= value <= 1 for value in values) or blank_share + random_share > 1 + 1e-9:
        raise ConfigurationError(
            f"{kind}: rate, blank share and random share are {values}; expected 0..1 each and shares of at "
            "most 1 together"
        )

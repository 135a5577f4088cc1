"""Batching of questions: duplicates once, similar lengths together, within a budget.

A batch is padded to its longest question and its largest number of objects; computation on padding is wasted.

Shapes: Q questions.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from lxmert.errors import ConfigurationError

_Item = TypeVar("_Item")

_OBJECTS_STEP = 4
"""Images are grouped by their number of objects in steps of this: at most 3 are padding, and groups stay
large."""


class TokenizedQuestion(NamedTuple):
    """One sentence about one image or two, ready to be batched.

    Attributes:
        token_ids: (W,) int64 with the special tokens.
        images: keys of its images in the source of their objects; for NLVR2 left, right.
    """

    token_ids: np.ndarray
    images: tuple[Hashable, ...]

    @property
    def key(self) -> tuple[bytes, tuple[Hashable, ...]]:
        """Equal for equal questions about the same images, and only for those."""
        return self.token_ids.tobytes(), self.images


@dataclass(frozen=True)
class WindowLimits:
    """Limits of a window; they bound the memory, and the time to the first answers.

    Attributes:
        questions: greatest number of questions.
        images: greatest number of distinct images.
    """

    questions: int = 4096
    images: int = 1024

    def __post_init__(self) -> None:
        if self.questions < 1 or self.images < 1:
            raise ConfigurationError(
                f"a window of {self.questions} questions and {self.images} images; expected at least 1 of "
                "each"
            )


@dataclass(frozen=True)
class BatchLimits:
    """Limits of a batch; a single question may always be one.

    Attributes:
        tokens: greatest number of tokens, words and objects, padding included; None for any number.
        questions: greatest number of questions; None for any number.
        fixed_tokens: the part of a batch's cost that does not grow with it, in tokens.
    """

    tokens: int | None = None
    questions: int | None = None
    fixed_tokens: int = 0

    def __post_init__(self) -> None:
        for name, limit in (("tokens", self.tokens), ("questions", self.questions)):
            if limit is not None and limit < 1:
                raise ConfigurationError(f"batches of {limit} {name}; expected at least 1")

    def max_questions(self, questions: int, tokens_per_question: int) -> int:
        """Return how many of `questions`, of at least `tokens_per_question` each, may form one batch."""
        fitting = questions if self.tokens is None else self.tokens // max(tokens_per_question, 1)
        return max(1, min(fitting, questions if self.questions is None else self.questions))


def split_into_windows(
    items: Iterable[_Item], images_of: Callable[[_Item], Iterable[Hashable]], limits: WindowLimits
) -> Iterator[list[_Item]]:
    """Split a stream into windows within the limits, in order; a single item may always be one.

    Args:
        items: any number of them; if the next one raises, those before it are yielded first.
        images_of: returns the images of an item.
        limits: of each window.
    """
    window: list[_Item] = []
    images: set[Hashable] = set()
    stream = iter(items)
    while True:
        try:
            item = next(stream)
        except StopIteration:
            break
        except Exception:
            if window:
                yield window
            raise
        item_images = set(images_of(item))
        if window and (
            len(window) >= limits.questions or len(images) + len(item_images - images) > limits.images
        ):
            yield window
            window, images = [], set()
        window.append(item)
        images |= item_images
    if window:
        yield window


def group_duplicates(questions: Sequence[TokenizedQuestion]) -> list[list[int]]:
    """Group the indices of equal questions about the same images, in order of first occurrence."""
    groups: dict[tuple[bytes, tuple[Hashable, ...]], list[int]] = {}
    for index, question in enumerate(questions):
        groups.setdefault(question.key, []).append(index)
    return list(groups.values())


def pack(words: Sequence[int], objects: Sequence[int], images: int, limits: BatchLimits) -> list[list[int]]:
    """Partition questions into batches of least total cost: padding against the fixed cost of a batch.

    Args:
        words: (Q,) number of tokens of each question.
        objects: (Q,) largest number of objects of any of its images.
        images: images per question, each of which is encoded with its own copy of the words.
        limits: of a batch.

    Returns:
        The indices of the questions of each batch; each question is in exactly one.
    """
    lengths, counts = np.asarray(words), np.asarray(objects)
    _, group = np.unique(-(-counts // _OBJECTS_STEP), return_inverse=True)
    # Ascending and descending by turns, so that a batch across two groups has similar lengths too.
    order = np.lexsort((np.where(group % 2 == 0, lengths, -lengths), group))
    lengths, counts = lengths[order], counts[order]
    min_tokens = int((lengths + counts).min()) if len(order) else 0
    max_questions = limits.max_questions(len(order), images * min_tokens)
    # For each prefix of the order: its least cost, and the start of its last batch.
    cost, starts = np.zeros(len(order) + 1), np.zeros(len(order) + 1, np.int64)
    for end in range(1, len(order) + 1):
        first = max(0, end - max_questions)
        widest = _suffix_maximum(lengths[first:end]) + _suffix_maximum(counts[first:end])
        tokens = np.arange(end - first, 0, -1) * images * widest
        total = cost[first:end] + tokens + limits.fixed_tokens
        if limits.tokens is not None:
            total[:-1][tokens[:-1] > limits.tokens] = np.inf  # A single question may always be a batch.
        best = int(total.argmin())
        cost[end], starts[end] = total[best], first + best
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[starts[end] : end].tolist())
        end = int(starts[end])
    return batches[::-1]


def _suffix_maximum(lengths: np.ndarray) -> np.ndarray:
    """Return for each position the maximum from there to the end."""
    return np.maximum.accumulate(lengths[::-1])[::-1]

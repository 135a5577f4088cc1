"""Which questions are answered together: equal ones once, like lengths in a batch, as many as fit a budget.

A batch is padded to its longest question and its most objects; what is padded is computed for nothing.

Shapes: Q questions.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from lxmert.errors import ConfigurationError

_Item = TypeVar("_Item")

_OBJECTS_STEP = 4
"""Images are grouped by so many objects: at most 3 of an image's are padding, and groups stay large."""


class Asked(NamedTuple):
    """One sentence about one image or two, ready to be batched.

    Attributes:
        token_ids: (W,) int64 with the special tokens.
        images: what its images are known by in the source of their objects; NLVR2: left, right.
    """

    token_ids: np.ndarray
    images: tuple[Hashable, ...]

    @property
    def key(self) -> tuple[bytes, tuple[Hashable, ...]]:
        """Equal for equal questions about the same images, and for these alone."""
        return self.token_ids.tobytes(), self.images


@dataclass(frozen=True)
class WindowLimits:
    """How much is worked on at a time; bounds the memory, and how long the first answers take.

    Attributes:
        questions: most questions.
        images: most different images.
    """

    questions: int = 4096
    images: int = 1024

    def __post_init__(self) -> None:
        if self.questions < 1 or self.images < 1:
            raise ConfigurationError(
                f"a window of {self.questions} questions and {self.images} images; expected at least 1 each"
            )


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch becomes; a single question always makes one.

    Attributes:
        tokens: most tokens, words and objects, padding included; None for any number.
        questions: most questions; None for any number.
        fixed_tokens: the part of a batch's work that does not grow with it, as so many tokens.
    """

    tokens: int | None = None
    questions: int | None = None
    fixed_tokens: int = 0

    def __post_init__(self) -> None:
        for name, limit in (("tokens", self.tokens), ("questions", self.questions)):
            if limit is not None and limit < 1:
                raise ConfigurationError(f"batches of {limit} {name}; expected at least 1")

    def most_questions(self, questions: int, tokens_per_question: int) -> int:
        """The most of so many questions, of at least so many tokens each, that may be one batch."""
        fit = questions if self.tokens is None else self.tokens // max(tokens_per_question, 1)
        return max(1, min(fit, questions if self.questions is None else self.questions))


def windows(
    items: Iterable[_Item], images_of: Callable[[_Item], Iterable[Hashable]], limits: WindowLimits
) -> Iterator[list[_Item]]:
    """Cut a stream into parts within the limits, in its order; an item is never without a window.

    Args:
        items: any number of them; where taking one fails, those before it are given first.
        images_of: the images of an item.
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
        of_item = set(images_of(item))
        if window and (
            len(window) >= limits.questions or len(images) + len(of_item - images) > limits.images
        ):
            yield window
            window, images = [], set()
        window.append(item)
        images |= of_item
    if window:
        yield window


def equal_questions(asked: Sequence[Asked]) -> list[list[int]]:
    """The places of equal questions about the same images together, in order of their first."""
    places: dict[tuple[bytes, tuple[Hashable, ...]], list[int]] = {}
    for place, one in enumerate(asked):
        places.setdefault(one.key, []).append(place)
    return list(places.values())


def pack(words: Sequence[int], objects: Sequence[int], images: int, limits: BatchLimits) -> list[list[int]]:
    """Put questions into batches of the least work: padding and a fixed part of each batch are weighed.

    Args:
        words: (Q,) number of tokens of each question.
        objects: (Q,) the most objects of any of its images.
        images: images per question, each of which is encoded with its own copy of the words.
        limits: of a batch.

    Returns:
        The numbers of the questions of each batch; each question is in one of them.
    """
    lengths, counts = np.asarray(words), np.asarray(objects)
    _, group = np.unique(-(-counts // _OBJECTS_STEP), return_inverse=True)
    # Up and down in turns, so that a batch across two groups has like lengths too.
    order = np.lexsort((np.where(group % 2 == 0, lengths, -lengths), group))
    lengths, counts = lengths[order], counts[order]
    least = int((lengths + counts).min()) if len(order) else 0
    most = limits.most_questions(len(order), images * least)
    # Of the first questions in order: the least work, and where its last batch starts.
    work, starts = np.zeros(len(order) + 1), np.zeros(len(order) + 1, np.int64)
    for end in range(1, len(order) + 1):
        first = max(0, end - most)
        widest = _longest_from(lengths[first:end]) + _longest_from(counts[first:end])
        tokens = np.arange(end - first, 0, -1) * images * widest
        total = work[first:end] + tokens + limits.fixed_tokens
        if limits.tokens is not None:
            total[:-1][tokens[:-1] > limits.tokens] = np.inf  # A single question always makes a batch.
        chosen = int(total.argmin())
        work[end], starts[end] = total[chosen], first + chosen
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[starts[end] : end].tolist())
        end = int(starts[end])
    return batches[::-1]


def _longest_from(lengths: np.ndarray) -> np.ndarray:
    """For each place the highest of the numbers from there to the end."""
    return np.maximum.accumulate(lengths[::-1])[::-1]

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
    """

    tokens: int | None = None
    questions: int | None = None

    def __post_init__(self) -> None:
        for name, limit in (("tokens", self.tokens), ("questions", self.questions)):
            if limit is not None and limit < 1:
                raise ConfigurationError(f"batches of {limit} {name}; expected at least 1")

    def allow(self, questions: int, tokens_per_question: int) -> bool:
        """Whether so many questions of this padded length may be one batch."""
        fits = self.tokens is None or questions * tokens_per_question <= self.tokens
        return questions == 1 or (fits and (self.questions is None or questions <= self.questions))


def windows(
    items: Iterable[_Item], images_of: Callable[[_Item], Iterable[Hashable]], limits: WindowLimits
) -> Iterator[list[_Item]]:
    """Cut a stream into parts within the limits, in its order; an item is never without a window.

    Args:
        items: any number of them.
        images_of: the images of an item.
        limits: of each window.
    """
    window: list[_Item] = []
    images: set[Hashable] = set()
    for item in items:
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
    for place, (token_ids, images) in enumerate(asked):
        places.setdefault((token_ids.tobytes(), images), []).append(place)
    return list(places.values())


def pack(words: Sequence[int], objects: Sequence[int], images: int, limits: BatchLimits) -> list[list[int]]:
    """Put questions into batches.

    Args:
        words: (Q,) number of tokens of each question.
        objects: (Q,) the most objects of any of its images.
        images: images per question, each of which is encoded with its own copy of the words.
        limits: of a batch.

    Returns:
        The numbers of the questions of each batch; each question is in one of them.
    """
    lengths = np.asarray(words)
    _, group = np.unique(-(-np.asarray(objects) // _OBJECTS_STEP), return_inverse=True)
    # Up and down in turns, so that a batch across two groups has like lengths too.
    up_and_down = np.where(group % 2 == 0, lengths, -lengths)
    batches: list[list[int]] = []
    longest = most = 0
    for number in np.lexsort((up_and_down, group)).tolist():
        longest, most = max(longest, words[number]), max(most, objects[number])
        if batches and limits.allow(len(batches[-1]) + 1, images * (longest + most)):
            batches[-1].append(number)
        else:
            batches.append([number])
            longest, most = words[number], objects[number]
    return batches

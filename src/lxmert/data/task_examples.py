"""Examples of a fine-tuning task, whatever the task, and parts of a split."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from lxmert.errors import DataError

IGNORED_LABEL = -100
"""The class id that losses ignore: an unknown answer, an unmasked word, padding, a missing attribute."""


class Purpose(Enum):
    """What a split is read for; readers skip whatever it does not need.

    TRAINING: sentences and correct answers. SCORING: all that the metric needs. PREDICTION: sentences alone;
    there may be no annotations.
    """

    TRAINING = "training"
    SCORING = "scoring"
    PREDICTION = "prediction"


class TaskExample(NamedTuple):
    """One sentence about one or several images, in any task.

    Attributes:
        identifier: Key of its prediction, unique in its split.
        text: The sentence as written.
        images: Names of its images, as feature stores have them; NLVR2: left, right.
        kind: Its family, such as a question type; None if unknown.
        source: The example as the task's file reader returned it.
    """

    identifier: int | str
    text: str
    images: tuple[str, ...]
    kind: str | None
    source: Any


class Target(NamedTuple):
    """The answer that a model should give.

    Attributes:
        label: Class id, or -100 if the answer is unknown or not in the vocabulary.
        scores: Sparse soft scores by class id.
    """

    label: int
    scores: Mapping[int, float]


@dataclass(frozen=True)
class Subset:
    """A subset of a split. The limits apply in the order of the fields.

    Attributes:
        first_images: Only examples about this many of the first images; None for all.
        kinds: Only examples of these kinds; None for all.
        share: Only this fraction of these examples, chosen by hashes of their identifiers: independent of
            the file's order, and a smaller fraction is a subset of a larger one. None for all.
        first_examples: At most this many of the remaining examples, from the first; None for all.
    """

    first_images: int | None = None
    kinds: Sequence[str] | None = None
    share: float | None = None
    first_examples: int | None = None

    def select(self, examples: Sequence[TaskExample], origin: str) -> Sequence[TaskExample]:
        """Select the subset's examples, in their order.

        Raises:
            DataError: No example is of one of the kinds.
        """
        if self.first_images is not None:
            names = dict.fromkeys(name for example in examples for name in example.images)
            first = set(list(names)[: self.first_images])
            examples = [example for example in examples if first.issuperset(example.images)]
        if self.kinds is not None:
            absent = set(self.kinds) - {example.kind for example in examples}
            if absent:
                raise DataError(f"{origin} is of type {', '.join(sorted(absent))}")
            examples = [example for example in examples if example.kind in self.kinds]
        if self.share is not None:
            examples = _select_share(examples, self.share)
        return examples[: self.first_examples]


def _select_share(examples: Sequence[TaskExample], share: float) -> Sequence[TaskExample]:
    count = max(1, round(share * len(examples)))
    by_hash = sorted(range(len(examples)), key=lambda n: (_hash(examples[n].identifier), n))
    return [examples[n] for n in sorted(by_hash[:count])]


def _hash(identifier: int | str) -> bytes:
    return hashlib.blake2b(str(identifier).encode(), digest_size=8).digest()

"""Examples of a fine-tuning task, whatever the task, and parts of a split."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from lxmert.errors import DataError

IGNORED_LABEL = -100
"""The class id that losses leave out: of an unknown answer, a word in sight, padding, a missing attribute."""


class Purpose(Enum):
    """What a split is read for, so that no more is read than that takes.

    TRAINING: sentences and right answers. SCORING: all that the metric needs. PREDICTION: sentences alone;
    there may be no right answers.
    """

    TRAINING = "training"
    SCORING = "scoring"
    PREDICTION = "prediction"


class TaskExample(NamedTuple):
    """One sentence about one image or several, whatever the task.

    Attributes:
        identifier: What predictions are reported under, unique in its split.
        text: The sentence as written.
        images: Names of its images, without ending; NLVR2: left, right.
        kind: Its family, such as a question type; None where none is known.
        source: What the task's file reader made of it.
    """

    identifier: int | str
    text: str
    images: tuple[str, ...]
    kind: str | None
    source: Any


class Target(NamedTuple):
    """What a model should say.

    Attributes:
        label: Class id, or -100 where it is not known or not in the vocabulary.
        scores: Sparse soft scores by class id.
    """

    label: int
    scores: Mapping[int, float]


@dataclass(frozen=True)
class Part:
    """How much of a split is wanted. The limits apply in the order of the fields.

    Attributes:
        first_images: Only examples about the first so many images; None for all.
        kinds: Only examples of these kinds; None for all.
        share: Only this share of these examples, chosen by their identifiers: the same for every order of
            the file, and a smaller share lies inside a larger one. None for all.
        first_examples: Only the first so many of these; None for all.
    """

    first_images: int | None = None
    kinds: Sequence[str] | None = None
    share: float | None = None
    first_examples: int | None = None

    def of(self, examples: Sequence[TaskExample], origin: str) -> Sequence[TaskExample]:
        """The wanted examples, in the order given.

        Raises:
            DataError: There is no example of a wanted kind.
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
            examples = _share_of(examples, self.share)
        return examples[: self.first_examples]


def _share_of(examples: Sequence[TaskExample], share: float) -> Sequence[TaskExample]:
    count = max(1, round(share * len(examples)))
    by_hash = sorted(range(len(examples)), key=lambda n: (_hash(examples[n].identifier), n))
    return [examples[n] for n in sorted(by_hash[:count])]


def _hash(identifier: int | str) -> bytes:
    return hashlib.blake2b(str(identifier).encode(), digest_size=8).digest()

"""Whether lower precision is good enough for a model: how many first questions it answers as in float32.

What bfloat16, or rounding to 8 bits, does to answers depends on the model, and nothing about the device
predicts it. A bulk run has enough questions to find out: some are answered in both before it begins.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lxmert.inference.bulk import ObjectSource
from lxmert.inference.fast_model import FastModel, fast_dtype

QUESTIONS_COMPARED = 64
"""Different questions that are answered twice: few of a run's thousands, and enough that one may differ."""

LEAST_AGREEMENT_PERCENT = 98
"""One of 64 may differ: a question whose two best answers are that close is a toss-up in float32 too."""

LEAST_EXAMPLES = 256
"""For fewer examples the comparison would take too large a share of the time."""

LEAST_EXAMPLES_LOOKING = 4096
"""The same where images must be looked at first: answers are a small part of such a run, and the images of
the questions that are compared are looked at once more."""

LEAST_WIDTH = 256
"""Hidden size below which bfloat16 is no faster: the embedded model, 128 wide, took longer in it."""


@dataclass(frozen=True)
class Agreement:
    """How lower precision compares with float32.

    Attributes:
        agreed: questions that both answer alike.
        compared: questions that were asked; 0 where the work is too small, and for bfloat16 where the device
            has no units for it, or the model is too small.
    """

    agreed: int = 0
    compared: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether to continue in lower precision."""
        return self.compared > 0 and 100 * self.agreed >= LEAST_AGREEMENT_PERCENT * self.compared

    @property
    def dtype(self) -> str:
        """What "auto" becomes: "bfloat16" or "float32"."""
        return "bfloat16" if self.is_enough else "float32"

    def told(self, dtype: str) -> str:
        """How `dtype` compared, as part of a message."""
        return f"{dtype} answers {self.agreed} of {self.compared} questions as float32 does"


def is_worth_comparing(
    model: PreTrainedModel, examples: int, *, looks_at_images: bool, is_chosen: bool = False
) -> bool:
    """Whether comparing takes a small share of the time for so many examples, and bfloat16 could be faster.

    Args:
        model: a model of a task.
        examples: how many there are.
        looks_at_images: whether their images must be looked at first.
        is_chosen: the lower precision was asked for, and is used whether it is faster or not.
    """
    if examples < (LEAST_EXAMPLES_LOOKING if looks_at_images else LEAST_EXAMPLES):
        return False
    could_be_faster = model.config.hidden_size >= LEAST_WIDTH and fast_dtype(model.device) == torch.bfloat16
    return is_chosen or could_be_faster


def agreement_of(exact: Sequence[int], others: Sequence[int]) -> Agreement:
    """Compare class ids of the same questions."""
    return Agreement(sum(one == other for one, other in zip(exact, others, strict=True)), len(exact))


def compare(model: PreTrainedModel, answers: Callable[[FastModel], Sequence[int]]) -> Agreement:
    """Answer in float32 and in bfloat16.

    Args:
        model: a model of a task. It is left in bfloat16 where that is good enough, else in float32 with the
            very weights that it had.
        answers: what a model says to the questions, as class ids; called once for each dtype.
    """
    exact = answers(FastModel(model, dtype="float32"))
    # The weights before their conversion, not a second model: both take 1.5 times the float32 weights while
    # they are compared, but no module is built twice, what wins is where the caller has it already, what
    # loses goes at once, and the float32 weights come back without being copied or read again.
    kept = {name: tensor.data for name, tensor in _tensors(model)}
    agreement = Agreement(0, len(exact))
    try:
        agreement = agreement_of(exact, answers(FastModel(model, dtype="bfloat16")))
    finally:
        if not agreement.is_enough:
            for name, tensor in _tensors(model):
                tensor.data = kept[name]
    return agreement


def labels_where_finite(scores: Tensor) -> list[int]:
    """The class that each row of scores (B, C) is highest for; -1 for a row that holds NaN or infinity."""
    labels = scores.argmax(dim=1).where(torch.isfinite(scores).all(dim=1), -1)
    return [int(label) for label in labels]


class LoadedOnce:
    """Objects of images that are asked for twice, in the same portions.

    Args:
        source: where they come from.
    """

    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self._loaded: dict[tuple[Hashable, ...], Mapping[str, Tensor]] = {}

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """See `ObjectSource.load`."""
        portion = tuple(images)
        if portion not in self._loaded:
            self._loaded[portion] = self._source.load(images)
        return self._loaded[portion]


def _tensors(model: PreTrainedModel) -> list[tuple[str, Tensor]]:
    """Parameters and buffers, everything that a conversion changes."""
    return list(chain(model.named_parameters(), model.named_buffers()))

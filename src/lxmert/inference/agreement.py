"""Whether lower precision is good enough for a model: on how many questions it agrees with float32.

How bfloat16 or 8-bit rounding changes answers depends on the model and cannot be predicted from the device.
A bulk run has enough questions to measure it: before it begins, a sample is answered in both precisions.
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
"""Distinct questions that are answered twice: few of a run's thousands, yet enough to let one differ."""

MIN_AGREEMENT_PERCENT = 98
"""One of 64 may differ: a question whose two best answers are that close is a toss-up in float32 too."""

MIN_EXAMPLES = 256
"""For fewer examples the comparison would take too large a share of the time."""

MIN_EXAMPLES_WITH_EXTRACTION = 4096
"""The same for runs that extract regions from images: answering is a small part of such a run, and the images
of the compared questions are extracted once more."""

MIN_HIDDEN_SIZE = 256
"""Hidden size below which bfloat16 is no faster: the embedded model, 128 wide, took longer in it."""


@dataclass(frozen=True)
class Agreement:
    """How lower precision compares with float32.

    Attributes:
        agreed: number of questions that both answer alike.
        compared: number of questions asked; 0 if the run is too small, or, for bfloat16, if the device has no
            units for it or the model is too small.
    """

    agreed: int = 0
    compared: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether to continue in lower precision."""
        return self.compared > 0 and 100 * self.agreed >= MIN_AGREEMENT_PERCENT * self.compared

    @property
    def dtype(self) -> str:
        """The dtype that "auto" resolves to: "bfloat16" or "float32"."""
        return "bfloat16" if self.is_enough else "float32"

    def summary(self, dtype: str) -> str:
        """Describe how `dtype` compared, as part of a message."""
        return f"{dtype} gives the same answer as float32 for {self.agreed} of {self.compared} questions"


def is_worth_comparing(
    model: PreTrainedModel, examples: int, *, extracts_regions: bool, is_requested: bool = False
) -> bool:
    """Whether comparing takes a small share of a run's time, and bfloat16 could be faster.

    Args:
        model: a model of a task.
        examples: number of examples of the run.
        extracts_regions: whether regions must be extracted from images first.
        is_requested: whether the lower precision was asked for, and is used even if it is not faster.
    """
    if examples < (MIN_EXAMPLES_WITH_EXTRACTION if extracts_regions else MIN_EXAMPLES):
        return False
    could_be_faster = (
        model.config.hidden_size >= MIN_HIDDEN_SIZE and fast_dtype(model.device) == torch.bfloat16
    )
    return is_requested or could_be_faster


def measure_agreement(exact: Sequence[int], others: Sequence[int]) -> Agreement:
    """Compare class ids of the same questions."""
    return Agreement(sum(first == second for first, second in zip(exact, others, strict=True)), len(exact))


def compare_dtypes(model: PreTrainedModel, predict_labels: Callable[[FastModel], Sequence[int]]) -> Agreement:
    """Answer in float32 and in bfloat16.

    Args:
        model: a model of a task. It is left in bfloat16 if that is good enough, else in float32 with its
            original weights.
        predict_labels: answers the questions with a model, as class ids; called once for each dtype.
    """
    exact = predict_labels(FastModel(model, dtype="float32"))
    # The original weights are kept rather than a second model: either takes 1.5 times the float32 weights
    # during the comparison, but this way no module is built twice, the caller's model becomes the chosen one,
    # the other's weights are freed at once, and float32 is restored without copying or reading it again.
    original = {name: tensor.data for name, tensor in _named_tensors(model)}
    agreement = Agreement(0, len(exact))
    try:
        agreement = measure_agreement(exact, predict_labels(FastModel(model, dtype="bfloat16")))
    finally:
        if not agreement.is_enough:
            for name, tensor in _named_tensors(model):
                tensor.data = original[name]
    return agreement


def labels_where_finite(scores: Tensor) -> list[int]:
    """Return the best class of each row of scores (B, C); -1 for a row that has NaN or infinity."""
    labels = scores.argmax(dim=1).where(torch.isfinite(scores).all(dim=1), -1)
    return [int(label) for label in labels]


class CachingObjectSource:
    """Caches the objects of images that are requested twice in the same groups.

    Args:
        source: where they come from.
    """

    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self._loaded: dict[tuple[Hashable, ...], Mapping[str, Tensor]] = {}

    def load(self, images: Sequence[Hashable]) -> Mapping[str, Tensor]:
        """See `ObjectSource.load`."""
        group = tuple(images)
        if group not in self._loaded:
            self._loaded[group] = self._source.load(images)
        return self._loaded[group]


def _named_tensors(model: PreTrainedModel) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers: everything that a conversion changes."""
    return list(chain(model.named_parameters(), model.named_buffers()))

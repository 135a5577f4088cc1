"""Whether lower precision is good enough for a model: on how many questions it agrees with float32.

How bfloat16 or 8-bit rounding changes answers depends on the model and cannot be predicted from the device.
A bulk run has enough questions to measure it: before it begins, a sample is answered in both precisions.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lxmert.cpu import has_int8
from lxmert.inference.bulk import ObjectSource
from lxmert.inference.compiling import is_cacheable
from lxmert.inference.fast_model import INT8, FastModel, fast_dtype
from lxmert.inference.int8 import quantize

QUESTIONS_COMPARED = {"bfloat16": 64, INT8: 256}
"""Distinct questions that are answered twice: few of a run's thousands, yet enough to let one differ."""

MIN_AGREEMENT_PERCENT = {"bfloat16": 98.0, INT8: 99.5}
"""One question may differ: with two best answers that close, it is a toss-up in float32 too."""

MIN_EXAMPLES_PER_QUESTION = 4
"""Examples of a run per question compared: with fewer, comparing would take too large a share of the time."""

MIN_EXAMPLES_PER_QUESTION_WITH_EXTRACTION = 64
"""The same for runs that extract regions from images: answering is a small part of such a run, and the images
of the compared questions are extracted once more."""

MIN_HIDDEN_SIZE = 256
"""Hidden size below which bfloat16 is no faster: the embedded model, 128 wide, took longer in it."""

MIN_COMPILED_EXAMPLES_PER_THREAD = 15_000
"""Compilation takes two minutes at full size, about what compiled 8-bit code gains on so many examples."""


@dataclass(frozen=True)
class Agreement:
    """How lower precision compares with float32.

    Attributes:
        agreed: number of questions that both answer alike.
        compared: number of questions asked; 0 if the run is too small, or if the device or the model is
            unsuited to the lower precision.
        lower_dtype: the lower precision, "bfloat16" or "int8".
    """

    agreed: int = 0
    compared: int = 0
    lower_dtype: str = "bfloat16"

    @property
    def is_enough(self) -> bool:
        """Whether to continue in lower precision."""
        return self.compared > 0 and 100 * self.agreed >= self.required_percent * self.compared

    @property
    def required_percent(self) -> float:
        """The percentage of agreeing questions that is enough."""
        return MIN_AGREEMENT_PERCENT[self.lower_dtype]

    @property
    def dtype(self) -> str:
        """The dtype that "auto" resolves to: the lower one if it agrees, else "float32"."""
        return self.lower_dtype if self.is_enough else "float32"

    def summary(self) -> str:
        """Describe it as part of a message."""
        counts = f"{self.agreed} of {self.compared} questions"
        return f"{self.lower_dtype} gives the same answer as float32 for {counts}"


def is_worth_comparing(
    model: PreTrainedModel,
    lower_dtype: str,
    examples: int,
    *,
    extracts_regions: bool,
    is_requested: bool = False,
) -> bool:
    """Whether comparing takes a small share of a run's time, and the lower precision could be faster.

    Args:
        model: a model of a task.
        lower_dtype: "bfloat16" or "int8".
        examples: number of examples of the run.
        extracts_regions: whether regions must be extracted from images first.
        is_requested: whether the lower precision was asked for, and is used even if it is not faster.
    """
    share = MIN_EXAMPLES_PER_QUESTION_WITH_EXTRACTION if extracts_regions else MIN_EXAMPLES_PER_QUESTION
    if examples < share * QUESTIONS_COMPARED[lower_dtype]:
        return False
    if lower_dtype == INT8:
        has_units = model.device.type == "cpu" and has_int8()
    else:
        has_units = fast_dtype(model.device) == torch.bfloat16
    return is_requested or (has_units and model.config.hidden_size >= MIN_HIDDEN_SIZE)


def is_worth_compiling(model: PreTrainedModel, examples: int) -> bool:
    """Whether compiled 8-bit code, which later processes can use, gains more time than compiling takes.

    Args:
        model: a model of a task.
        examples: number of examples of this process, about regions that are extracted already.
    """
    return (
        model.device.type == "cpu"
        and is_cacheable(model)
        and examples >= MIN_COMPILED_EXAMPLES_PER_THREAD * torch.get_num_threads()
    )


def measure_agreement(
    exact: Sequence[int], others: Sequence[int], lower_dtype: str = "bfloat16"
) -> Agreement:
    """Compare class ids of the same questions, in float32 and in a lower precision."""
    agreed = sum(first == second for first, second in zip(exact, others, strict=True))
    return Agreement(agreed, len(exact), lower_dtype)


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


def compare_int8(
    model: PreTrainedModel,
    predict_labels: Callable[[FastModel], Sequence[int]],
    warm_up: Callable[[FastModel], None],
    *,
    is_requested: bool,
) -> tuple[Agreement, FastModel | None]:
    """Answer in float32 and in 8 bits.

    Unless requested, 8 bits are first tried without compiled code, which takes minutes to make.

    Args:
        model: a float32 model of a task on a CPU. It is rounded if 8 bits are good enough or requested, else
            its weights do not change.
        predict_labels: see `compare_dtypes`; called once more for code that is not compiled.
        warm_up: compiles a model.
        is_requested: whether 8 bits are used whatever the answers.

    Returns:
        how they agree, and the compiled model if it is used.

    Raises:
        ConfigurationError: the model has layers that cannot be rounded, or cannot be compiled here.
    """
    # A copy is rounded: where compilation fails, answering goes on with the exact weights.
    rounded = deepcopy(model)
    quantize(rounded, fast_dtype(model.device))
    exact: Sequence[int] | None = None
    if not is_requested:
        exact = predict_labels(FastModel(model, dtype="float32"))
        agreement = measure_agreement(exact, predict_labels(FastModel(rounded, dtype=None)), INT8)
        if not agreement.is_enough:
            return agreement, None
    fast = FastModel(rounded, dtype=None, compiled=True)
    warm_up(fast)
    if exact is None:
        exact = predict_labels(FastModel(model, dtype="float32"))
    agreement = measure_agreement(exact, predict_labels(fast), INT8)
    if not (is_requested or agreement.is_enough):
        return agreement, None
    model.__dict__ = rounded.__dict__  # The caller's model becomes the rounded one, whose layers these are.
    return agreement, fast


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

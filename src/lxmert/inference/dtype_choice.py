"""Which dtype a bulk run answers in: as fast a one as answers its first questions as float32 does."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from lxmert.data.progress import StartProgress
from lxmert.errors import ConfigurationError
from lxmert.inference.agreement import (
    Agreement,
    compare_dtypes,
    compare_int8,
    is_worth_comparing,
    is_worth_compiling,
)
from lxmert.inference.fast_model import AUTO, INT8, FastModel, answering_dtype, check_int8_setup
from lxmert.inference.model_setup import ModelSetup

AnswerSample = Callable[[FastModel], list[int]]
"""Answers a run's first questions with a model; returns their class ids."""


@dataclass(frozen=True)
class RunSize:
    """How much a run has to do.

    Attributes:
        examples: number of examples of all its processes.
        processes: number of processes that share them.
        extracts_regions: whether the images' regions must be extracted first.
    """

    examples: int
    processes: int
    extracts_regions: bool


class DtypeChooser:
    """Sets a model up for a run, in a dtype that was given or is found by comparison.

    A model that needs no comparison is set up on construction.

    Args:
        model: a model of a task, which is set up in place.
        setup: how; see `ExampleAnswerer` for dtype "auto" and "int8".
        run: the size of the run.
        start_sample: called before a comparison, with the lower dtype and how many times the questions will
            be answered.
        progress: shows the compilation.
        notify: see `ExampleAnswerer`.

    Raises:
        ConfigurationError: no such dtype here.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        setup: ModelSetup,
        run: RunSize,
        start_sample: Callable[[str, int], AnswerSample],
        progress: StartProgress,
        notify: Callable[[str], None],
    ) -> None:
        self._model = model
        self._setup = setup
        self._run = run
        self._start_sample = start_sample
        self._progress, self._notify = progress, notify
        self._fast: FastModel | None = None
        self._warmed_up: FastModel | None = None
        if setup.dtype == INT8:
            check_int8_setup(model.device, compiled=setup.compiles)
        elif setup.dtype != AUTO:
            self._fast = setup.apply(model)

    @property
    def dtype(self) -> str:
        """What the model answers in, once it is set up; see `answering_dtype`."""
        return answering_dtype(self._model)

    def agreement(self) -> Agreement:
        """Compare lower precision with float32; see `ExampleAnswerer.agreement`.

        If 8 bits are used, the model is set up for them: the compared model is kept, which is compiled.
        """
        if self._setup.dtype == INT8:
            return self._compare_int8(is_requested=True)
        in_8_bits = Agreement(lower_dtype=INT8)
        if self._may_use_int8():
            try:
                in_8_bits = self._compare_int8(is_requested=False)
            except ConfigurationError as error:
                self._notify(f"not answering in 8 bits: {error}")
        if in_8_bits.is_enough or not self._is_worth_comparing("bfloat16"):
            return in_8_bits
        return compare_dtypes(self._model, self._start_sample("bfloat16", 2))

    def set_up(self, get_agreement: Callable[[], Agreement]) -> FastModel:
        """Set the model up; to be called once.

        Args:
            get_agreement: how lower precision agrees; called for dtype "auto" and "int8" alone.
        """
        setup = self._setup
        if setup.dtype in (AUTO, INT8):
            setup = self._choose_setup(get_agreement())
        if self._fast is None:
            self._fast = setup.apply(self._model)
        return self._fast

    def warm_up(self, fast: FastModel) -> None:
        """Compile a model that is to be compiled, once."""
        if fast.compiled and fast is not self._warmed_up:
            fast.warm_up(self._progress("Compiling", 3))
            self._warmed_up = fast

    def _may_use_int8(self) -> bool:
        """Whether "auto" may choose 8 bits: only compiled models answer in them."""
        if self._setup.compiled is not None:
            return self._setup.compiled
        own_examples = self._run.examples // self._run.processes
        return not self._run.extracts_regions and is_worth_compiling(self._model, own_examples)

    def _compare_int8(self, *, is_requested: bool) -> Agreement:
        if not self._is_worth_comparing(INT8):
            return Agreement(lower_dtype=INT8)
        answer_sample = self._start_sample(INT8, 2 if is_requested else 3)
        agreement, self._fast = compare_int8(
            self._model, answer_sample, self.warm_up, is_requested=is_requested
        )
        return agreement

    def _is_worth_comparing(self, lower_dtype: str) -> bool:
        return is_worth_comparing(
            self._model,
            lower_dtype,
            self._run.examples,
            extracts_regions=self._run.extracts_regions,
            is_requested=self._setup.dtype == INT8,
        )

    def _choose_setup(self, agreement: Agreement) -> ModelSetup:
        """Return the set-up that a comparison leads to, and report it where a user should know."""
        is_requested = self._setup.dtype == INT8
        if agreement.compared:
            line, required = agreement.summary(), f"{agreement.required_percent:g} % required"
            if is_requested and not agreement.is_enough:
                line += f" ({required} by auto)"
            elif not agreement.is_enough:
                line += f" ({required}); using float32 (--dtype {agreement.lower_dtype} to override)"
            elif not is_requested:
                line += f"; using {agreement.dtype} (--dtype float32 to override)"
            if agreement.lower_dtype == INT8 or not agreement.is_enough:
                self._notify(line)
        return self._setup if is_requested else replace(self._setup, dtype=agreement.dtype)

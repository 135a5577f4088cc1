"""How a model is set up for answering: in which dtype, and whether compiled."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from lxmert.errors import ConfigurationError
from lxmert.inference.compiling import check_compiler, is_cacheable
from lxmert.inference.fast_model import INT8, FastModel

MIN_HIDDEN_SIZE = 256
"""Hidden size below which neither bfloat16 nor compilation gains anything: the embedded model, 128 wide, took
longer in bfloat16."""

MIN_QUESTIONS_PER_THREAD = 15_000
"""Compilation takes two minutes at full size, about what compiled 8-bit code gains on so many questions."""


@dataclass(frozen=True)
class ModelSetup:
    """How a model is set up for answering; see `FastModel`.

    Attributes:
        dtype: "float32", "bfloat16", "float16", "int8" or "auto"; None leaves the model's own. "auto" is
            bfloat16 where the device has units for it; `ExampleAnswerer` goes by the answers as well. "int8"
            is only compiled, and on a CPU.
        compiled: run as machine code compiled for the model; None, for `ExampleAnswerer`, where that pays.
    """

    dtype: str | None = None
    compiled: bool | None = False

    def apply(self, model: PreTrainedModel) -> FastModel:
        """Set a model up, in place.

        Raises:
            ConfigurationError: what is asked for does not exist, or not on the model's device.
        """
        return FastModel(model, dtype=self.dtype, compiled=bool(self.compiled))

    def with_compilation(self, *, pays: bool, notify: Callable[[str], None]) -> "ModelSetup":
        """Decide whether to compile, if that is left open.

        Args:
            pays: whether compiled code would gain more time than compiling takes.
            notify: called with a line if it would pay, but nothing can be compiled here.
        """
        if self.compiled is not None:
            return self
        if self.dtype == INT8:  # There is no other way.
            return replace(self, compiled=True)
        if pays:
            try:
                check_compiler()
            except ConfigurationError as error:
                notify(f"answering without compiled code: {error}")
                pays = False
        return replace(self, compiled=pays)


def compilation_pays(model: PreTrainedModel, questions: int) -> bool:
    """Whether compiled code, which later processes can use, gains more time than compiling takes.

    Args:
        model: a model of a task.
        questions: number of questions of this process about objects that are extracted already.
    """
    return (
        model.device.type == "cpu"
        and is_cacheable(model)
        and model.config.hidden_size >= MIN_HIDDEN_SIZE
        and questions >= MIN_QUESTIONS_PER_THREAD * torch.get_num_threads()
    )

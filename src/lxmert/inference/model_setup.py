"""How a model is set up for answering: in which dtype, and whether compiled."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from lxmert.inference.fast_model import INT8, FastModel


@dataclass(frozen=True)
class ModelSetup:
    """How a model is set up for answering; see `FastModel`.

    Attributes:
        dtype: "float32", "bfloat16", "float16", "int8" or "auto"; None leaves the model's own. "auto" is
            bfloat16 where the device has units for it; `ExampleAnswerer` goes by the answers as well. "int8"
            is only compiled, and on a CPU.
        compiled: run as machine code compiled for the model; None for 8 bits alone.
    """

    dtype: str | None = None
    compiled: bool | None = False

    @property
    def compiles(self) -> bool:
        """Whether a model in this dtype is compiled."""
        return self.dtype == INT8 if self.compiled is None else self.compiled

    def apply(self, model: PreTrainedModel) -> FastModel:
        """Set a model up, in place.

        Raises:
            ConfigurationError: what is asked for does not exist, or not on the model's device.
        """
        return FastModel(model, dtype=self.dtype, compiled=self.compiles)

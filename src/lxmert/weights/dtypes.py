"""Names of dtypes, as in configurations, options and messages, and the refusal of quantized weights."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lxmert.errors import WeightsError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

_NOT_QUANTIZED = "use a checkpoint that is not quantized"

# Codes of safetensors, such as "BF16" and "F8_E4M3": kind, bits, and the layout of small floats.
_SAFETENSORS_CODE = re.compile(r"(BF|F|I|U|C)(\d.*)")
_SAFETENSORS_KINDS = {"BF": "bfloat", "F": "float", "I": "int", "U": "uint", "C": "complex"}


def dtype_name(dtype: "torch.dtype") -> str:
    """The name of a dtype without that of its library: "float32" for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def safetensors_dtype_name(code: str) -> str:
    """The name of a dtype of safetensors as `dtype_name` writes it: "float32" for "F32", "int8" for "I8"."""
    parts = _SAFETENSORS_CODE.fullmatch(code)
    return (_SAFETENSORS_KINDS[parts[1]] + parts[2] if parts else code).lower()


def check_not_quantized(config: "PreTrainedConfig", source: str) -> None:
    """Refuse the configuration of quantized weights, whose scales are tensors beside them.

    Raises:
        WeightsError: it has a `quantization_config`.
    """
    if getattr(config, "quantization_config", None) is not None:
        raise WeightsError(f"{source}: the weights are quantized (quantization_config); {_NOT_QUANTIZED}")


def check_float_weights(dtypes: Mapping[str, str], source: str) -> None:
    """Refuse weights that are not floating-point numbers, such as quantized ones without their scales.

    Args:
        dtypes: parameter name -> name of its dtype in the checkpoint.
        source: the folder, file or hub name that was read.

    Raises:
        WeightsError: one is of another type.
    """
    for name, dtype in dtypes.items():
        if "float" not in dtype:
            raise WeightsError(
                f"{source}: {name} has the dtype {dtype}, expected floating-point numbers; {_NOT_QUANTIZED}"
            )

"""Names of dtypes, as in configurations, options and messages."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def dtype_name(dtype: "torch.dtype") -> str:
    """The name of a dtype without that of its library: "float32" for `torch.float32`."""
    return str(dtype).removeprefix("torch.")

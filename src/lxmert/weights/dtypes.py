"""Names of the types of numbers, as configurations, options and messages give them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def dtype_name(dtype: "torch.dtype") -> str:
    """The name of a type without that of its library: "float32" of `torch.float32`."""
    return str(dtype).removeprefix("torch.")

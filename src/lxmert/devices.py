"""Where networks run: the device that a caller names, or the one that suits."""

import torch

from lxmert.errors import ConfigurationError, first_line


def device_of_process(local_rank: int) -> str:
    """The GPU of one of this machine's processes, which share them in turn; the CPU where there is none."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{local_rank % gpus}" if gpus else "cpu"


def usable_device(device: str | torch.device | None = None) -> torch.device:
    """The device of this name, once something could be put there.

    Args:
        device: such as "cpu", "cuda" or "cuda:1"; None for the GPU when there is one, else the CPU.

    Raises:
        ConfigurationError: there is no such device, or this torch cannot use it.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # A torch without CUDA asserts that there is one.
        raise ConfigurationError(f"device {str(name)!r} cannot be used: {first_line(error)}") from error

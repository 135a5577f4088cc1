"""The device that networks run on: the one named by the caller, or the best available."""

import torch

from lxmert.errors import ConfigurationError, first_line


def process_device(local_rank: int) -> str:
    """Return the GPU of a process, assigned round-robin by its local rank; the CPU if there is no GPU."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{local_rank % gpus}" if gpus else "cpu"


def resolve_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device of this name, after a trial allocation on it.

    Args:
        device: such as "cpu", "cuda" or "cuda:1"; None for the GPU if there is one, else the CPU.

    Raises:
        ConfigurationError: there is no such device, or the installed torch cannot use it.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # A torch without CUDA asserts that there is one.
        raise ConfigurationError(f"device {str(name)!r} cannot be used: {first_line(error)}") from error

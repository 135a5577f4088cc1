"""Fingerprints of a model's weights, to be kept with what is made by them.

Features, answers and code of other weights look like any; only the fingerprint tells them apart.
"""

import hashlib

import torch
from torch import nn

from lxmert.errors import WeightsError

_LETTERS = 12
"""48 bits: two of a million different models share one with a chance of 0.2 %."""


def digest_weights(model: nn.Module) -> str:
    """The SHA-256 of every tensor's name, shape, type and bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # As bytes, for NumPy knows no bfloat16. A contiguous tensor of the CPU is read where it lies.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_weights(model: nn.Module) -> str:
    """The first twelve digits of `digest_weights`: what an extractor's identity and description carry."""
    return digest_weights(model)[:_LETTERS]


def require_weights(name: object, found: str, expected: str | None) -> None:
    """Do nothing where the fingerprints are equal, or where none was expected.

    Raises:
        WeightsError: the weights under this name have changed, so features would differ in silence.
    """
    if expected is not None and found != expected:
        raise WeightsError(
            f"{name}: its weights (hash {found}) are not those that the features were made with "
            f"({expected}); get the original weights, or make the extractor anew"
        )

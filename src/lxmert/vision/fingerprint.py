"""A short fingerprint of a model's weights: what an extractor's identity and description carry.

Features of other weights look like features all the same; only the fingerprint tells them apart.
"""

import hashlib

import torch
from torch import nn

from lxmert.errors import WeightsError

_LETTERS = 12
"""48 bits: two of a million different models share one with a chance of 0.2 %."""


def hash_weights(model: nn.Module) -> str:
    """Twelve hexadecimal digits of the SHA-256 of every tensor's name, shape, type and bytes."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_LETTERS]


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

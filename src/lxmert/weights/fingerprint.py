"""Fingerprints of a model's weights, stored with whatever was made with them.

Features, answers and compiled code of other weights look alike; only the fingerprint distinguishes them.
"""

import hashlib

import torch
from torch import nn

from lxmert.errors import WeightsError

_HASH_DIGITS = 12
"""48 bits: among a million different models two share one with a probability of 0.2 %."""


def digest_weights(model: nn.Module) -> str:
    """The SHA-256 of every tensor's name, shape, dtype and bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # As bytes, because NumPy lacks bfloat16. A contiguous tensor on the CPU is read in place.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_weights(model: nn.Module) -> str:
    """The first twelve digits of `digest_weights`, used in an extractor's identity and description."""
    return digest_weights(model)[:_HASH_DIGITS]


def check_weights_hash(name: object, found: str, expected: str | None) -> None:
    """Refuse weights with another fingerprint than expected; None accepts any.

    Raises:
        WeightsError: the weights of this name have changed, so features would silently differ.
    """
    if expected is not None and found != expected:
        raise WeightsError(
            f"{name}: its weights (hash {found}) are not those that the features were made with "
            f"({expected}); get the original weights, or create the extractor again"
        )

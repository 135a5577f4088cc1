"""Hashes of model weights: stored with features, so the hash of a model must never change."""

import hashlib
import struct

import pytest
import torch
from torch import nn

from lxmert.errors import WeightsError
from lxmert.weights.fingerprint import check_weights_hash, digest_weights, hash_weights


@pytest.fixture
def model() -> nn.Module:
    made = nn.Module()
    made.register_parameter("second", nn.Parameter(torch.tensor([[1.5, -2.0, 0.25], [4.0, 5.0, 6.0]]).T))
    made.register_buffer("first", torch.tensor([1.0, 9.0, 0.5], dtype=torch.bfloat16)[::2])
    made.register_buffer("third", torch.tensor(7))
    made.register_buffer("without", torch.zeros(0, 3))
    return made


def test_digest_covers_name_shape_dtype_and_bytes_of_every_tensor(model: nn.Module) -> None:
    wanted = hashlib.sha256(
        # The upper halves of the float32 1.0, 0x3f800000, and 0.5, 0x3f000000.
        b"first (2,) torch.bfloat16" + struct.pack("<2H", 0x3F80, 0x3F00)
        + b"second (3, 2) torch.float32" + struct.pack("<6f", 1.5, 4.0, -2.0, 5.0, 0.25, 6.0)
        + b"third () torch.int64" + struct.pack("<q", 7)
        + b"without (0, 3) torch.float32"
    ).hexdigest()  # fmt: skip
    assert digest_weights(model) == wanted
    assert hash_weights(model) == wanted[:12]


def test_one_changed_weight_changes_digest(model: nn.Module) -> None:
    before = digest_weights(model)
    model.get_buffer("first")[1] += 0.01
    assert digest_weights(model) != before


def test_mismatched_weights_hash_raises_weights_error() -> None:
    check_weights_hash("detector", "0123456789ab", "0123456789ab")
    check_weights_hash("detector", "0123456789ab", None)
    with pytest.raises(WeightsError, match=r"detector: its weights \(hash 0123456789ab\) are not those"):
        check_weights_hash("detector", "0123456789ab", "ba9876543210")

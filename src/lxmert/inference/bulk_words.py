"""Sentences, encoded once and assembled for each batch of questions.

Shapes: S sentences, B questions of a batch, W words, H hidden.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lxmert.data.token_table import pad_token_ids
from lxmert.inference.bulk_packing import BatchLimits, pack
from lxmert.inference.bulk_padding import pad_states
from lxmert.inference.fast_model import FastModel


class EncodedWords:
    """The sentences of a window, each encoded once by a model's language layers.

    Args:
        fast: the model.
        pad_token_id: id of the padding token.
        limits: of the sentences encoded at once.
    """

    def __init__(self, fast: FastModel, pad_token_id: int, limits: BatchLimits) -> None:
        self._fast = fast
        self._pad_token_id = pad_token_id
        self._limits = limits
        self._states: dict[bytes, Tensor] = {}  # (W, H) each

    def encode(self, sentences: Sequence[np.ndarray]) -> None:
        """Encode these sentences, (W,) int64 each with the special tokens, and forget all others."""
        self._states = {}
        distinct = list({sentence.tobytes(): sentence for sentence in sentences}.values())
        lengths = [len(sentence) for sentence in distinct]
        for batch in pack(lengths, [0] * len(distinct), 1, self._limits):
            members = [distinct[number] for number in batch]
            words, mask = map(torch.from_numpy, pad_token_ids(members, self._pad_token_id))
            is_padded = not bool(mask.all())
            device = self._fast.device
            states = self._fast.encode_words(words.to(device), mask.to(device) if is_padded else None)
            for sentence, padded in zip(members, states, strict=True):
                self._states[sentence.tobytes()] = padded[: len(sentence)]

    def batch(self, sentences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor | None]:
        """Assemble the words of B sentences.

        Returns:
            (B, W, H), and the mask (B, W), None if nothing is padded.
        """
        parts = [self._states[sentence.tobytes()] for sentence in sentences]
        return pad_states(parts, torch.tensor([len(part) for part in parts]))

"""Sentences, encoded once and put together for each batch of questions.

Shapes: S sentences, B questions of a batch, W words, H hidden.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lxmert.data.token_table import pad_token_ids
from lxmert.inference.bulk_packing import BatchLimits, pack
from lxmert.inference.bulk_padding import padded_states
from lxmert.inference.fast_model import FastModel


class EncodedWords:
    """What a model's language layers make of sentences, each of which is encoded once however often it comes.

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
        """Encode these sentences, and hold no others; each is (W,) int64 with the special tokens."""
        self._states = {}
        different = list({sentence.tobytes(): sentence for sentence in sentences}.values())
        lengths = [len(sentence) for sentence in different]
        for batch in pack(lengths, [0] * len(different), 1, self._limits):
            chosen = [different[number] for number in batch]
            words, mask = map(torch.from_numpy, pad_token_ids(chosen, self._pad_token_id))
            is_padded = not bool(mask.all())
            device = self._fast.device
            states = self._fast.encode_words(words.to(device), mask.to(device) if is_padded else None)
            for sentence, of_sentence in zip(chosen, states, strict=True):
                self._states[sentence.tobytes()] = of_sentence[: len(sentence)]

    def batch(self, sentences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor | None]:
        """The words of B sentences.

        Returns:
            (B, W, H), and the mask (B, W), None where nothing is padded.
        """
        parts = [self._states[sentence.tobytes()] for sentence in sentences]
        return padded_states(parts, torch.tensor([len(part) for part in parts]))

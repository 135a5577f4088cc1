"""The word pieces of many sentences in two arrays: processes that read share them, and none has a copy.

Shapes: S sentences, W words of one of them.
"""

from collections.abc import Iterable
from itertools import chain, islice

import numpy as np
from transformers import PreTrainedTokenizerBase

from lxmert.data.progress import Advance

# Sentences tokenised in one call: bounds the memory of its intermediate lists.
_SENTENCES_AT_A_TIME = 50_000

_SMALL_VOCABULARY = 2**16


class TokenTable:
    """Token ids of sentences, tokenised once.

    Args:
        sentences: The sentences, in order.
        tokenizer: Turns them into ids.
        max_length: Most tokens of a sentence with its special tokens.
        advance: Called with the number of sentences just done, for a progress bar.
    """

    def __init__(
        self,
        sentences: Iterable[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        advance: Advance = lambda sentences: None,
    ) -> None:
        dtype = np.uint16 if len(tokenizer) <= _SMALL_VOCABULARY else np.int32
        ids, lengths = [np.zeros(0, dtype)], [np.zeros(1, np.int64)]
        # The authors only strip a sentence before they tokenise it.
        stripped = (sentence.strip() for sentence in sentences)
        while part := list(islice(stripped, _SENTENCES_AT_A_TIME)):
            encoded = tokenizer(part, truncation=True, max_length=max_length)["input_ids"]
            ids.append(np.fromiter(chain.from_iterable(encoded), dtype))
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            advance(len(part))
        self._ids = np.concatenate(ids)
        self._starts = np.concatenate(lengths).cumsum()

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """The ids of one sentence, (W,) int64."""
        return self._ids[self._starts[index] : self._starts[index + 1]].astype(np.int64)

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each sentence."""
        lengths: list[int] = np.diff(self._starts).tolist()
        return lengths

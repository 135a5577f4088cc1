"""The token ids of many sentences in two arrays, which reading processes share without copies.

Shapes: S sentences, B of them in a batch, W words of a sentence or of the batch's longest.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice

import numpy as np
from transformers import PreTrainedTokenizerBase

from lxmert.data.json_files import describe
from lxmert.data.progress import Advance
from lxmert.errors import DataError
from lxmert.faults import find_lone_surrogate
from lxmert.texts import TOKENIZER_LOCK

# Sentences tokenised in one call: enough for every core, and few enough for the caches.
_SENTENCES_PER_BATCH = 2_000

_MAX_UINT16_VOCABULARY = 2**16


class TokenTable:
    """Token ids of sentences, tokenised once.

    Args:
        sentences: The sentences, in order.
        tokenizer: Turns them into ids.
        max_length: Maximum number of tokens of a sentence, special tokens included.
        advance: Called with the number of sentences just done, for a progress bar.

    Raises:
        DataError: A sentence has an unpaired surrogate, which cannot be tokenised.
    """

    def __init__(
        self,
        sentences: Iterable[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        advance: Advance = lambda sentences: None,
    ) -> None:
        dtype = np.uint16 if len(tokenizer) <= _MAX_UINT16_VOCABULARY else np.int32
        ids, lengths = [np.zeros(0, dtype)], [np.zeros(1, np.int64)]
        # The authors only strip a sentence before they tokenise it.
        stripped = (sentence.strip() for sentence in sentences)
        while part := list(islice(stripped, _SENTENCES_PER_BATCH)):
            _check_characters(part)
            with TOKENIZER_LOCK:
                encoded = _encode(part, tokenizer, max_length)
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

    def fraction_of(self, token_ids: Collection[int]) -> float:
        """Fraction of all tokens, except the special ones around each sentence, that are among these."""
        count = np.isin(self._ids, list(token_ids)).sum()
        return float(count) / max(1, len(self._ids) - 2 * len(self))

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each sentence."""
        lengths: list[int] = np.diff(self._starts).tolist()
        return lengths


def _encode(sentences: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[list[int]]:
    """The ids of each sentence.

    A fast tokenizer takes half the time of its own call here, because only ids are computed, neither masks
    nor offsets.
    """
    settings = {"truncation": True, "max_length": max_length}
    if not tokenizer.is_fast:
        return list(tokenizer(sentences, **settings)["input_ids"])
    # A call configures truncation in the library, and refuses impossible lengths.
    tokenizer("", **settings)
    return [encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch_fast(sentences)]


def _check_characters(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        if (start := find_lone_surrogate(sentence)) is not None:
            raise DataError(
                f"sentence {describe(sentence)}: character {start} is half of a surrogate pair, as in a "
                "cut-off emoji; correct the text"
            )


def pad_token_ids(
    sentences: Sequence[np.ndarray], pad_token_id: int, multiple_of: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Stack the ids of sentences, padded to the longest of them.

    Args:
        sentences: ids of each, (W,) int64; at least one sentence.
        pad_token_id: id of the padding token.
        multiple_of: W becomes a multiple of this.

    Returns:
        ids (B, W) int64, and their attention mask (B, W) int64, 0 for padding.
    """
    lengths = np.array([len(ids) for ids in sentences])
    width = math.ceil(lengths.max() / multiple_of) * multiple_of
    mask = np.arange(width)[None] < lengths[:, None]
    padded = np.full(mask.shape, pad_token_id, np.int64)
    padded[mask] = np.concatenate(sentences)
    return padded, mask.astype(np.int64)

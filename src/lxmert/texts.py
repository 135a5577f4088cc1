"""Texts to token ids, refusing texts that a model cannot understand.

Shapes: B texts, W tokens of the longest.
"""

import re
import string
import textwrap
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch

from lxmert.errors import ConfigurationError, InputError, TextError
from lxmert.faults import find_lone_surrogate, is_int_in_range

TOKENIZER_LOCK = Lock()
"""Tokenizers keep padding and truncation as state, which another thread could change during a call.
One lock for all: encoding is fast, and tokenizers without a lock of their own can be copied and pickled."""


def as_texts(texts: str | Sequence[str] | None, name: str) -> list[str] | None:
    """Return one text or several as a checked list; `name` is what error messages call them.

    Raises:
        TextError: no text, or one that is not a string, is blank, or has invalid characters.
    """
    if texts is None:
        return None
    if not isinstance(texts, Sequence):
        raise TextError(f"the {name} is a {type(texts).__name__}; expected a string or a list of strings")
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed:
        raise TextError(f"{name} is an empty list; pass at least one text")
    for row, text in enumerate(listed):
        which = f"{name} {row}" if len(listed) > 1 else f"the {name}"
        if not isinstance(text, str):
            raise TextError(f"{which} is a {type(text).__name__}; expected a string")
        if not text.strip():
            raise TextError(f"{which} is empty; write a question or a sentence")
        _check_characters(text, which)
    return listed


def validate_max_length(length: int) -> int:
    """Return `length`, once it is seen to leave room for a word.

    Raises:
        ConfigurationError: `length` is not an integer of at least 3.
    """
    if not is_int_in_range(length, 3):
        raise ConfigurationError(
            f"text length is {length!r}; expected a whole number of at least 3, for [CLS], a word and [SEP]"
        )
    return length


def check_batch_sizes(texts: list[str] | None, pairs: list[str] | None, images: int | None) -> None:
    """Check that the numbers of texts, pairs and images match.

    Raises:
        InputError: nothing given, or counts that do not match.
    """
    if texts is None and images is None:
        raise InputError("nothing to process; pass images (or regions), text, or both")
    if pairs is not None and len(pairs) != len(texts or ()):
        raise InputError(
            f"{len(pairs)} texts in text_pair for {len(texts or ())} in text; expected one for each"
        )
    if texts is not None and images is not None and images not in (1, len(texts)):
        raise InputError(
            f"{images} images for {len(texts)} texts; pass as many of both, or one image for all texts"
        )


def encode_texts(
    tokenizer: Any, texts: list[str], pairs: list[str] | None, *, tensors: bool, **settings: Any
) -> dict[str, Any]:
    """Return token ids, attention mask and segments of the texts; safe to call from several threads.

    Args:
        tokenizer: any tokenizer with BERT's special tokens.
        texts: B texts.
        pairs: a second sentence for each, or None.
        tensors: True for (B, W) int64 tensors, False for lists of lists.
        **settings: `max_length`, `padding` and `truncation` of the tokenizer.

    Raises:
        TextError: a text without a word of the vocabulary, or without one within `max_length`.
        InputError: tensors are asked for, but the texts differ in length and padding is off.
    """
    length = settings["max_length"]
    if not settings["truncation"] and settings["padding"] != "max_length":
        del settings["max_length"]  # It would have no effect, and tokenizers warn about that.
    with TOKENIZER_LOCK:
        # On the right, whatever the tokenizer's default: the model expects [CLS] at the first position.
        encoded = tokenizer(
            texts,
            pairs,
            padding_side="right",
            return_token_type_ids=True,
            return_attention_mask=True,
            **settings,
        )
    ids, segments = encoded["input_ids"], encoded["token_type_ids"]
    for segment, sentences in enumerate([texts] if pairs is None else [texts, pairs]):
        for row, sentence in enumerate(sentences):
            tokens = [token for token, part in zip(ids[row], segments[row], strict=True) if part == segment]
            which = "the text" if len(sentences) == 1 else f"text {row}"
            _check_words(tokenizer, sentence, tokens, which, length)
    if tensors and len({len(row) for row in ids}) > 1:
        raise InputError(
            "texts of different lengths cannot form a tensor; use padding=True, or return_tensors=None"
        )
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: torch.tensor(encoded[name]) if tensors else encoded[name] for name in names}


def read_part(tokenizer: Any, text: str, max_length: int) -> str | None:
    """Return the beginning of a text that a model reads, or None if it reads all of it.

    Args:
        tokenizer: any tokenizer with BERT's special tokens.
        text: a sentence.
        max_length: most tokens that are read, with [CLS] and [SEP].

    Returns:
        The first words; of the last one only a part may be read.
    """
    most_tokens = max_length - 2
    with TOKENIZER_LOCK:
        if len(tokenizer.tokenize(text)) <= most_tokens:
            return None
        ends = [word.end() for word in re.finditer(r"\S+", text)]
        last = bisect_left(ends, most_tokens, key=lambda end: len(tokenizer.tokenize(text[:end])))
        return text[: ends[last]]


def unknown_words(tokenizer: Any, text: str) -> list[str]:
    """Return the distinct words of a text outside the vocabulary: those that become [UNK] or letters.

    In a vocabulary whose word parts are all single letters these are also words that begin with a known one:
    "dog" is no more known from "do" and "##g" than from letters alone.

    Args:
        tokenizer: any tokenizer with BERT's special tokens.
        text: a sentence; words are separated by white space and, as in the tokenizer, by added tokens and by
            punctuation, which is not reported itself.
    """
    with TOKENIZER_LOCK:
        words = {word: tokenizer.tokenize(word) for word in _split_words(tokenizer, text)}
        # Going through the vocabulary takes longer than the rest, and most questions do without.
        is_split = any(len(pieces) > 1 for pieces in words.values())
        has_longer_parts = is_split and _has_longer_parts(tokenizer)
    return [word for word, pieces in words.items() if _is_unknown(tokenizer, pieces, has_longer_parts)]


def unknown_word_token_ids(tokenizer: Any) -> set[int]:
    """Return the ids that words outside the vocabulary become: [UNK], and letters that continue a word."""
    prefix = wordpiece_prefix(tokenizer)
    letters = {
        number
        for piece, number in tokenizer.get_vocab().items()
        if prefix and piece.startswith(prefix) and len(piece) == len(prefix) + 1
    }
    return letters | {tokenizer.unk_token_id}


def wordpiece_prefix(tokenizer: Any) -> str:
    """Return the prefix of pieces that continue a word: "##" unless the tokenizer has another."""
    prefix: str = getattr(tokenizer, "wordpieces_prefix", "##")
    return prefix


def _split_words(tokenizer: Any, text: str) -> list[str]:
    added = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    without_added = re.sub("|".join(map(re.escape, added)), " ", text) if added else text
    separated = "".join(" " if _is_punctuation(character) else character for character in without_added)
    return separated.split()


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _has_longer_parts(tokenizer: Any) -> bool:
    """Whether the vocabulary has pieces of more than a letter that continue a word."""
    prefix = wordpiece_prefix(tokenizer)
    return any(piece.startswith(prefix) and len(piece) > len(prefix) + 1 for piece in tokenizer.get_vocab())


def _is_unknown(tokenizer: Any, pieces: list[str], has_longer_parts: bool) -> bool:
    prefix = wordpiece_prefix(tokenizer)
    first, *others = pieces or [""]
    letter_length = len(prefix) + 1
    is_spelled_out = all(piece.startswith(prefix) and len(piece) == letter_length for piece in others)
    if has_longer_parts:
        is_spelled_out = is_spelled_out and len(first) == 1
    return tokenizer.unk_token in pieces or (bool(others) and is_spelled_out)


def _check_characters(text: str, which: str) -> None:
    # Python turns invalid bytes of the command line into lone surrogates, which no tokenizer accepts.
    if (start := find_lone_surrogate(text)) is not None:
        raise TextError(
            f"{which} is not valid Unicode at character {start}: {_shorten(text)}; write it in UTF-8"
        )


def _check_words(tokenizer: Any, sentence: str, token_ids: list[int], which: str, max_length: int) -> None:
    special_ids = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    words = [token for token in token_ids if token not in special_ids]
    if any(token != tokenizer.unk_token_id for token in words):
        return
    # Known words may have been truncated away: encode once more without truncation to tell the two apart.
    with TOKENIZER_LOCK:
        untruncated = tokenizer(sentence, add_special_tokens=False)["input_ids"]
    if any(token != tokenizer.unk_token_id and token not in special_ids for token in untruncated):
        raise TextError(
            f"{which} has no word that the model knows within max_length={max_length}: "
            f"{_shorten(sentence)}; raise max_length or shorten the text"
        )
    raise TextError(f"{which} has no word that the model knows: {_shorten(sentence)}; use plain words")


def _shorten(text: str) -> str:
    return textwrap.shorten(repr(text), 60, placeholder="…")

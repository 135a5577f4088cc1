"""Texts -> token ids, refusing texts that a model cannot understand.

Shapes: B texts, W tokens of the longest.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import torch

from lxmert.errors import InputError, TextError


def as_texts(texts: str | Sequence[str] | None, name: str) -> list[str] | None:
    """One text or several -> a list of texts; `name` stands in the error messages.

    Raises:
        TextError: no text at all, one that is no string, or one that is blank.
    """
    if texts is None:
        return None
    if not isinstance(texts, Sequence):
        raise TextError(f"the {name} is a {type(texts).__name__}; expected a string or a list of strings")
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise TextError(f"{name} is an empty list; give at least one text")
    for row, one in enumerate(found):
        which = f"{name} {row}" if len(found) > 1 else f"the {name}"
        if not isinstance(one, str):
            raise TextError(f"{which} is a {type(one).__name__}; expected a string")
        if not one.strip():
            raise TextError(f"{which} is empty; write a question or a sentence")
    return found


def encode_texts(
    tokenizer: Any, texts: list[str], pairs: list[str] | None, *, tensors: bool, **settings: Any
) -> dict[str, Any]:
    """Token ids, attention mask and segments of the texts.

    Args:
        tokenizer: any tokenizer of BERT's special tokens.
        texts: B texts.
        pairs: a second sentence for each, or None.
        tensors: True for (B, W) int64 tensors, False for lists of lists.
        **settings: `max_length`, `padding`, `truncation`, as tokenizers take them.

    Raises:
        TextError: a text of which no word is in the vocabulary.
        InputError: tensors of texts of different lengths, because padding was switched off.
    """
    if not settings["truncation"] and settings["padding"] != "max_length":
        del settings["max_length"]  # It would have no effect, and tokenizers warn about that.
    encoded = tokenizer(texts, pairs, return_token_type_ids=True, return_attention_mask=True, **settings)
    ids, segments = encoded["input_ids"], encoded["token_type_ids"]
    for segment, sentences in enumerate([texts] if pairs is None else [texts, pairs]):
        for row, sentence in enumerate(sentences):
            tokens = [token for token, part in zip(ids[row], segments[row], strict=True) if part == segment]
            which = "the text" if len(sentences) == 1 else f"text {row}"
            _check_words(tokenizer, sentence, tokens, which)
    if tensors and len({len(row) for row in ids}) > 1:
        raise InputError(
            "texts of different lengths make no tensor; use padding=True, or return_tensors=None"
        )
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: torch.tensor(encoded[name]) if tensors else encoded[name] for name in names}


def _check_words(tokenizer: Any, sentence: str, token_ids: list[int], which: str) -> None:
    without_meaning = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    words = [token for token in token_ids if token not in without_meaning]
    if all(token == tokenizer.unk_token_id for token in words):
        shown = textwrap.shorten(repr(sentence), 60, placeholder="…")
        raise TextError(f"{which} has no word that the model knows: {shown}; use plain words")

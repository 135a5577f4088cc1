"""Checks of special tokens: each needs an id of its own, or it would stand for the unknown token."""

from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer

from lxmert.errors import VocabularyError
from lxmert.faults import is_int_in_range

EXTRA = "extra_special_tokens"
_MAX_ID = 2**32 - 1
"""The Rust tokenizer's ids have 32 bits."""


def require_known_token(backend: Tokenizer, names: Collection[str], attribute: str, value: Any) -> None:
    """Check the assignment of an attribute of a tokenizer.

    Args:
        backend: gives tokens their ids.
        names: attributes that hold one special token each, such as "cls_token".
        attribute: the name of any attribute, such as "cls_token", "cls_token_id" or "extra_special_tokens".
        value: its new value.

    Raises:
        VocabularyError: a special token without an id, or an id without a token.
    """
    if attribute.endswith("_id") and attribute.removesuffix("_id") in names and isinstance(value, int):
        if not is_int_in_range(value, 0, _MAX_ID) or backend.id_to_token(value) is None:
            raise VocabularyError(f"{attribute} cannot be {value!r}, which is not the id of a token")
        return
    for token in _tokens_in(names, attribute, value):
        if backend.token_to_id(token) is None:
            argument = {attribute: [token] if attribute == EXTRA else token}
            raise VocabularyError(
                f"{attribute} cannot {'contain' if attribute == EXTRA else 'be'} {token!r}, which is not in "
                f"the vocabulary; add it with add_special_tokens({argument!r})"
            )


def require_texts(backend: Tokenizer, names: Collection[str], values: Mapping[str, Any]) -> None:
    """Check special tokens that are to be added, by attribute.

    Raises:
        VocabularyError: an empty token, which would get no id.
    """
    for attribute, value in values.items():
        if "" in _tokens_in(names, attribute, value) and backend.token_to_id("") is None:
            raise VocabularyError(f"{attribute} is {value!r}, but a token cannot be empty; expected its text")


def _tokens_in(names: Collection[str], attribute: str, value: Any) -> list[str]:
    if attribute in names:
        value = [value]
    elif attribute != EXTRA or not isinstance(value, list | tuple):
        return []
    return [str(token) for token in value if isinstance(token, str | AddedToken)]

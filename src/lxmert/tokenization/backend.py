"""The Rust tokenizer behind the class: built from a vocabulary, read from a tokenizer.json, or passed in."""

import copy
import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from lxmert.errors import ConfigurationError, VocabularyError
from lxmert.tokenization.pipeline import TextOptions
from lxmert.tokenization.vocabulary import require_ids_without_gap

_GAP_ADVICE = (
    "make the tokenizer again from its vocab.txt (vocab_file=) and add the tokens again (add_tokens)"
)


def read_json_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the settings of a JSON file next to the vocabulary, such as tokenizer_config.json.

    Raises:
        ConfigurationError: the file is not JSON in UTF-8, or is not one object.
    """
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not a valid JSON file ({error}); save it again") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(
            f"{path}: contains a {type(settings).__name__}; expected one JSON object of settings"
        )
    return settings


def read_backend(path: str | os.PathLike[str]) -> Tokenizer:
    """Read the tokenizer of a tokenizer.json.

    Raises:
        VocabularyError: the file is missing, not a tokenizer.json, not of WordPiece type, empty, or has a gap
            in its ids.
    """
    if not Path(path).is_file():
        raise VocabularyError(f"there is no tokenizer file {str(path)!r}; expected a tokenizer.json")
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception on malformed files
        raise VocabularyError(
            f"{str(path)!r} cannot be read as a tokenizer.json ({error}); save it again with save_pretrained"
        ) from error
    return _require_wordpiece(backend, str(path))


def create_backend(vocabulary: dict[str, int], unk_token: object, prefix: str) -> Tokenizer:
    """Make a bare WordPiece tokenizer."""
    if unk_token is None:
        raise ConfigurationError("unk_token is None, but WordPiece needs a token for unknown words; set one")
    model = WordPiece(vocabulary, unk_token=str(unk_token), continuing_subword_prefix=prefix)
    return Tokenizer(model)


def pop_backend(kwargs: dict[str, Any]) -> Tokenizer | None:
    """Remove the tokenizer, if any, from the keyword arguments and return it."""
    read, passed = kwargs.pop("_backend", None), kwargs.pop("tokenizer_object", None)
    if passed is None:
        return read
    # A copy, because the pipeline is reassembled on it and the caller's must not change.
    return _require_wordpiece(copy.deepcopy(passed), "tokenizer_object")


def set_model(backend: Tokenizer, unk_token: str | None, prefix: str) -> None:
    """Set the unknown token, which must be in the WordPiece model itself, and the prefix."""
    model = backend.model
    if model.continuing_subword_prefix != prefix:
        model.continuing_subword_prefix = prefix
    index = None if unk_token is None else backend.token_to_id(unk_token)
    if unk_token is None or index is None:
        return
    if model.token_to_id(unk_token) is not None:
        if model.unk_token != unk_token:
            model.unk_token = unk_token
        return
    # With the tokens added before it, since a gap in the ids would be closed when the model is read again.
    added = {token.content: id_ for id_, token in backend.get_added_tokens_decoder().items() if id_ <= index}
    backend.model = WordPiece(
        backend.get_vocab(with_added_tokens=False) | added,
        unk_token=unk_token,
        continuing_subword_prefix=prefix,
        max_input_chars_per_word=model.max_input_chars_per_word,
    )


def backend_options(backend: Tokenizer) -> dict[str, Any]:
    """Return the options stated in a tokenizer.json, as keyword arguments of `LxmertTokenizer`."""
    options: dict[str, Any] = {"wordpieces_prefix": backend.model.continuing_subword_prefix}
    if backend.normalizer is None:
        return options
    state = json.loads(backend.normalizer.__getstate__())
    for part in state.get("normalizers", [state]):
        if part["type"] == "BertNormalizer":
            options["do_lower_case"] = part["lowercase"]
            options["strip_accents"] = part["strip_accents"]
            options["tokenize_chinese_chars"] = part["handle_chinese_chars"]
            options["clean_text"] = part["clean_text"]
    return options


def complete_options(options: dict[str, Any], backend: Tokenizer) -> dict[str, Any]:
    """Return `options`, with those left at their default taken from the tokenizer.json of `backend`."""
    defaults = vars(TextOptions())
    stated = backend_options(backend)
    return {
        name: stated[name] if name in stated and value == defaults[name] else value
        for name, value in options.items()
    }


def _require_wordpiece(backend: Tokenizer, name: str) -> Tokenizer:
    kind = type(backend.model).__name__
    if kind != "WordPiece":
        raise VocabularyError(f"{name!r} contains a {kind} tokenizer; LXMERT needs WordPiece")
    vocabulary = backend.get_vocab(with_added_tokens=False)
    if not vocabulary:
        raise VocabularyError(f"the vocabulary of {name!r} is empty; load or train one with words in it")
    require_ids_without_gap(vocabulary, f"the vocabulary of {name!r}", _GAP_ADVICE)
    return backend

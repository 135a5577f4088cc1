"""The list of word pieces: read from a file, a dict or a list, checked, and written as vocab.txt.

Format of vocab.txt: UTF-8, one word piece a line, the line number (from 0) is its id.
An unusable vocabulary is an error here, because the alternative, a tokenizer that maps everything to [UNK],
trains and predicts without a warning.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lxmert.errors import VocabularyError

VocabularySource = str | os.PathLike[str] | Mapping[str, int] | Sequence[str]  # a path, a dict or a list

_ADVICE = "pass vocab_file= (a vocab.txt), vocab= (a dict or list) or tokenizer_file= (a tokenizer.json)"


def read_vocabulary(source: VocabularySource) -> dict[str, int]:
    """Return the word pieces of `source` with their ids, 0..V-1 without gaps.

    Args:
        source: path of a vocab.txt, a mapping from word piece to id, or the word pieces in order of id.

    Raises:
        VocabularyError: the file is missing or not UTF-8 text, there is no word piece, a word piece is
            duplicated, or the ids are not 0..V-1.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return _index_words(_read_lines(path), f"the vocabulary file {str(path)!r}")
    if isinstance(source, Mapping):
        return _validate_ids(source)
    if isinstance(source, list | tuple):
        return _index_words(source, "the vocabulary list")
    raise VocabularyError(f"a vocabulary cannot be a {type(source).__name__}; {_ADVICE}")


def write_vocabulary(path: Path, vocabulary: Mapping[str, int]) -> None:
    """Write the word pieces in the order of their ids, one a line."""
    lines = sorted(vocabulary, key=lambda word: vocabulary[word])
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{word}\n" for word in lines)


def require_known_words(vocabulary: Iterable[str], special_tokens: Iterable[str]) -> None:
    """Refuse a vocabulary of special tokens only, which would turn every text into [UNK]."""
    special = set(special_tokens)
    if not any(word not in special for word in vocabulary):
        raise VocabularyError(
            f"the vocabulary contains no word besides the special tokens {sorted(special)}, so every text "
            f"would become the unknown token; {_ADVICE}"
        )


def require_ids_without_gap(vocabulary: Mapping[str, int], name: str, advice: str) -> None:
    """Refuse ids other than 0..V-1: a gap would be reused as the id of the next added token.

    Args:
        vocabulary: word pieces and their ids.
        name: what the message calls it.
        advice: what to do, for the message.

    Raises:
        VocabularyError: the ids are not 0..V-1.
    """
    wrong = set(vocabulary.values()) ^ set(range(len(vocabulary)))
    if wrong:
        raise VocabularyError(
            f"the {len(vocabulary)} word pieces of {name} must have the ids 0 to {len(vocabulary) - 1}, each "
            f"once; missing or out of range: {sorted(wrong)[:5]}; {advice}"
        )


def missing_vocabulary_error(where: object) -> VocabularyError:
    """Return the error about a tokenizer made without a vocabulary.

    Args:
        where: the folder or hub repository that was to have it; None for neither.
    """
    if not where:
        return VocabularyError(f"a tokenizer needs a vocabulary and got none; {_ADVICE}")
    if os.path.isdir(str(where)):
        return VocabularyError(
            f"no vocabulary in {str(where)!r}: expected vocab.txt or tokenizer.json there; save a "
            "tokenizer into it with save_pretrained, or choose another folder"
        )
    return VocabularyError(
        f"no vocabulary of {str(where)!r}: there is no such folder, the hub's cache has no vocab.txt or "
        "tokenizer.json of it, and the hub has none either, cannot be reached, or access to it is switched "
        "off (local_files_only, HF_HUB_OFFLINE); check the name and the connection, or use a local folder"
    )


def _read_lines(path: Path) -> list[str]:
    if not path.is_file():
        kind = "a folder; load it with from_pretrained" if path.is_dir() else f"not there; {_ADVICE}"
        raise VocabularyError(f"the vocabulary file {str(path)!r} is {kind}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"the vocabulary file {str(path)!r} is not UTF-8 text ({error.reason} at byte {error.start}); "
            "expected one word piece per line"
        ) from error
    # Only "\n" ends a line: word pieces such as U+2028 are line ends elsewhere. Trailing blanks are
    # stripped, as in the library, unless they are the whole word piece.
    lines = [line.rstrip() or line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _index_words(words: Iterable[Any], name: str) -> dict[str, int]:
    vocabulary: dict[str, int] = {}
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise VocabularyError(
                f"{name} contains {word!r} at position {index}; expected a word piece (str)"
            )
        if word in vocabulary:
            raise VocabularyError(
                f"{name} contains {word!r} twice, at positions {vocabulary[word]} and {index} (from 0); "
                "each word piece needs one id, remove one of them"
            )
        vocabulary[word] = index
    if not vocabulary:
        raise VocabularyError(f"{name} is empty; expected one word piece per line or entry")
    return vocabulary


def _validate_ids(vocabulary: Mapping[str, int]) -> dict[str, int]:
    if not vocabulary:
        raise VocabularyError(f"the vocabulary dict is empty; {_ADVICE}")
    for word, index in vocabulary.items():
        if not isinstance(word, str) or not isinstance(index, int) or isinstance(index, bool):
            raise VocabularyError(
                f"the vocabulary dict maps {word!r} to {index!r}; expected a str to an int id"
            )
    require_ids_without_gap(vocabulary, "the vocabulary dict", "number them from 0, or pass them as a list")
    return dict(vocabulary)

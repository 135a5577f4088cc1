"""Words of questions that a model's vocabulary lacks."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert.inference.models import embedded_model_folder
from lxmert.texts import read_part, unknown_words
from lxmert.tokenization import LxmertTokenizerFast


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How many red stars are there?", []),
        ("Is the Man red, or the man?", ["Man", "man"]),
        # Parts of words, which the tokenizer separates too; the vocabulary has "red", "s" and "blue".
        ("Is it the xylophone's red-xylophone/blue?", ["xylophone"]),
        ("the l'étoile", ["étoile"]),
        ("«étoile»", ["étoile"]),
        ("How many stars’ red—blue ??? are there —", []),
        ("€", ["€"]),
    ],
)
def test_unknown_words_are_separated_by_white_space_and_punctuation(text: str, expected: list[str]) -> None:
    tokenizer = LxmertTokenizerFast.from_pretrained(embedded_model_folder())
    assert unknown_words(tokenizer, text) == expected


def test_added_tokens_are_known_and_separate_words() -> None:
    tokenizer = LxmertTokenizerFast.from_pretrained(embedded_model_folder())
    assert unknown_words(tokenizer, "a t-shirt") == ["shirt"]
    tokenizer.add_tokens(["t-shirt"])
    assert unknown_words(tokenizer, "a t-shirt, the t-shirt's color, red[MASK]xylophone") == ["xylophone"]


def test_words_that_begin_with_a_known_word_are_unknown_if_only_letters_continue_it() -> None:
    """The embedded vocabulary has "do", "is" and "on", but no longer part of a word than a letter."""
    tokenizer = LxmertTokenizerFast.from_pretrained(embedded_model_folder())
    assert tokenizer.tokenize("dog") == ["do", "##g"]
    text = "Is the dog at the door of an island, or an onion?"
    assert unknown_words(tokenizer, text) == ["dog", "door", "island", "onion"]


def test_words_of_known_parts_are_known_where_parts_are_longer_than_a_letter(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "teddy", "x", "##s", "##y", "##ing"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = LxmertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"))
    assert tokenizer.tokenize("teddys") == ["teddy", "##s"]
    assert unknown_words(tokenizer, "the teddys xys") == ["xys"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How many red stars are there?", None),  # 7 tokens and the two special ones, which just fit
        ("How many red stars are there ? Red", "How many red stars are there ?"),
        ("How many red stars are there??", "How many red stars are there??"),  # one of the marks is read
        ("How many  red\nxylophones are there?", "How many  red\nxylophones"),
        ("xylophones", "xylophones"),
    ],
)
def test_part_read_ends_with_the_word_of_the_last_token(text: str, expected: str | None) -> None:
    tokenizer = LxmertTokenizerFast.from_pretrained(embedded_model_folder())
    assert read_part(tokenizer, text, max_length=9) == expected


@given(st.text("ab1é中.€\x01\u200b\u0301[   \n\t\u3000", max_size=80), st.integers(3, 12))
def test_part_read_is_the_shortest_beginning_with_enough_tokens(text: str, max_length: int) -> None:
    tokenizer = LxmertTokenizerFast.from_pretrained(embedded_model_folder())
    beginnings = (text[: word.end()] for word in re.finditer(r"\S+", text))
    enough = (part for part in beginnings if len(tokenizer.tokenize(part)) >= max_length - 2)
    expected = next(enough) if len(tokenizer.tokenize(text)) > max_length - 2 else None
    assert read_part(tokenizer, text, max_length) == expected


def test_part_read_is_found_in_few_passes_over_a_text_of_words_without_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = LxmertTokenizerFast.from_pretrained(embedded_model_folder())
    tokenize, passes = tokenizer.tokenize, list[str]()

    def counting(text: str) -> Any:
        passes.append(text)
        return tokenize(text)

    monkeypatch.setattr(tokenizer, "tokenize", counting)
    empty = "\x01 " * 1000
    assert read_part(tokenizer, empty + "red star " * 6, max_length=4) == empty + "red star"
    assert len(passes) < 20

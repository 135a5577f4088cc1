"""A vocabulary of a few word pieces, and the real BERT vocabulary where it is at hand."""

from pathlib import Path

import pytest

from lxmert.tokenization import LxmertTokenizer, LxmertTokenizerFast

# Ids by place: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then the words from 5.
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789?!.,'-"]
WORDS = [
    "what",
    "is",
    "the",
    "man",
    "holding",
    "hello",
    "Hello",
    "don't",
    "US",
    "us",
    "café",
    "cafe",
    "中",
    "国",
]
WORDS += ["##ing", "##ed", "un", "##want", "runn", "we", "want"]
SMALL_VOCABULARY = [*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS[:26])]


@pytest.fixture
def small_vocabulary() -> list[str]:
    return list(SMALL_VOCABULARY)


@pytest.fixture
def vocab_file(tmp_path: Path) -> Path:
    path = tmp_path / "words" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{word}\n" for word in SMALL_VOCABULARY), encoding="utf-8")
    return path


@pytest.fixture(params=[LxmertTokenizer, LxmertTokenizerFast], ids=lambda made: made.__name__)
def tokenizer_class(request: pytest.FixtureRequest) -> type[LxmertTokenizer]:
    return request.param


@pytest.fixture(scope="session")
def bert_vocabulary(shared_data: Path) -> str:
    return str(shared_data / "bert" / "vocab.txt")

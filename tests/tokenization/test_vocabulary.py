"""Every form in which a vocabulary may be passed, and the errors of invalid ones."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from lxmert.errors import ConfigurationError, VocabularyError

TEXT = "What is the man holding?"


def test_path_dict_and_list_give_the_same_ids(tokenizer_class, vocab_file, small_vocabulary):
    expected = tokenizer_class(small_vocabulary)(TEXT)["input_ids"]
    assert expected[:3] == [2, 5, 6]
    numbered = {word: index for index, word in enumerate(small_vocabulary)}
    for source in (vocab_file, str(vocab_file), numbered, tuple(small_vocabulary)):
        assert tokenizer_class(source)(TEXT)["input_ids"] == expected
        assert tokenizer_class(vocab=source)(TEXT)["input_ids"] == expected
        assert tokenizer_class(vocab_file=source)(TEXT)["input_ids"] == expected


def test_tokenizer_json_loads_as_file_and_as_first_argument(tokenizer_class, small_vocabulary, tmp_path):
    saved = tokenizer_class(small_vocabulary, do_lower_case=False, strip_accents=True)
    saved.add_tokens(["quokka"])
    saved.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    for loaded in (tokenizer_class(tokenizer_file=file), tokenizer_class(str(file))):
        assert loaded.tokenize("Hello café quokka") == ["Hello", "cafe", "quokka"]
        assert (loaded.do_lower_case, loaded.strip_accents) == (False, True)
    assert tokenizer_class(tokenizer_file=str(file), strip_accents=False).tokenize("café") == ["café"]


def test_tokenizer_object_is_used_without_being_changed(tokenizer_class, small_vocabulary):
    words = {word: index for index, word in enumerate(small_vocabulary)}
    backend = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    before = backend.to_str()
    tokenizer = tokenizer_class(tokenizer_object=backend)
    assert tokenizer.tokenize(TEXT) == ["what", "is", "the", "man", "holding", "?"]
    assert backend.to_str() == before


def test_vocabulary_file_with_crlf_bom_and_trailing_blank_lines_loads(
    tokenizer_class, small_vocabulary, tmp_path
):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*small_vocabulary, "", ""]).encode())
    assert tokenizer_class(path).get_vocab() == tokenizer_class(small_vocabulary).get_vocab()


def test_line_separator_can_be_word_piece(tokenizer_class, small_vocabulary, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*small_vocabulary, "\u2028", "last"]) + "\n", encoding="utf-8")
    assert tokenizer_class(path).convert_tokens_to_ids("last") == len(small_vocabulary) + 1


def test_trailing_blanks_are_dropped_but_blank_may_be_word_piece(tokenizer_class, small_vocabulary, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*small_vocabulary, "quokka \t", "\u3000", "\u2003"]) + "\n", encoding="utf-8")
    tokenizer = tokenizer_class(path)
    assert tokenizer("quokka")["input_ids"] == [2, len(small_vocabulary), 3]
    assert len(tokenizer) == len(small_vocabulary) + 3


def test_missing_special_tokens_are_added_at_the_end(tokenizer_class):
    tokenizer = tokenizer_class(["hello", "man"])
    assert tokenizer.convert_tokens_to_ids(["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]) == [2, 3, 4, 5, 6]
    assert tokenizer("hello quokka")["input_ids"] == [5, 0, 2, 3]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "got none"),
        ([], "empty"),
        ({}, "empty"),
        ("/nowhere/vocab.txt", "not there"),
        (b"words", "bytes"),
        (["a", "b", "a"], "'a' twice, at positions 0 and 2"),
        (["a", 5], "5 at position 1"),
        ({"a": 0, "b": 0}, "ids 0 to 1"),
        ({"a": 0, "b": 2}, "ids 0 to 1"),
        ({"a": False, "b": True}, "'a' to False"),
        ({"a": 0, "b": "1"}, "'b' to '1'"),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "no word besides"),
    ],
)
def test_invalid_vocabulary_raises_vocabulary_error(tokenizer_class, source, message):
    with pytest.raises(VocabularyError, match=message):
        tokenizer_class(source)
    with pytest.raises(VocabularyError, match=message):
        tokenizer_class(vocab=source)


def _is_one_line(error: pytest.ExceptionInfo[VocabularyError]) -> bool:
    return "\n" not in str(error.value)


def test_invalid_vocabulary_file_raises_one_line_vocabulary_error(tokenizer_class, tmp_path: Path):
    empty, binary, folder = tmp_path / "empty.txt", tmp_path / "binary.txt", tmp_path / "folder"
    empty.write_text("\n\n")
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    folder.mkdir()
    for path, message in ((empty, "empty"), (binary, "not UTF-8"), (folder, "from_pretrained")):
        with pytest.raises(VocabularyError, match=message) as error:
            tokenizer_class(path)
        assert _is_one_line(error)


def test_invalid_tokenizer_json_raises_vocabulary_error(tokenizer_class, tmp_path: Path):
    broken, other, empty = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"
    broken.write_text("{")
    Tokenizer(models.BPE({"a": 0}, [])).save(str(other))
    Tokenizer(models.WordPiece({})).save(str(empty))
    for path, message in ((broken, "tokenizer.json"), (other, "BPE"), (empty, "empty")):
        with pytest.raises(VocabularyError, match=message):
            tokenizer_class(tokenizer_file=path)
    with pytest.raises(VocabularyError, match="no tokenizer file"):
        tokenizer_class(tokenizer_file=tmp_path / "none.json")
    for content, message in (
        ("{", "not JSON"),
        ("{}", "tokenizer.json"),
        ("null", "tokenizer.json"),
        ("[" * 200_000, "tokenizer.json"),
    ):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(VocabularyError, match=message):
            tokenizer_class.from_pretrained(tmp_path)


def test_tokenizer_object_or_file_with_gap_in_the_ids_raises_vocabulary_error(tokenizer_class, tmp_path):
    words = {"[PAD]": 0, "[UNK]": 1, "man": 3}
    with pytest.raises(VocabularyError, match=r"'tokenizer_object' must have the ids 0 to 2.*\[2, 3\]"):
        tokenizer_class(tokenizer_object=Tokenizer(models.WordPiece(words, unk_token="[UNK]")))
    saved = json.loads(Tokenizer(models.WordPiece({"man": 0})).to_str())
    saved["model"]["vocab"] = words
    (tmp_path / "gap.json").write_text(json.dumps(saved))
    with pytest.raises(
        VocabularyError, match=r"gap\.json' must have the ids 0 to 2.*; make the tokenizer again"
    ):
        tokenizer_class(tokenizer_file=tmp_path / "gap.json")


def test_wordpiece_needs_an_unknown_token(tokenizer_class, small_vocabulary):
    with pytest.raises(ConfigurationError, match="unk_token"):
        tokenizer_class(small_vocabulary, unk_token=None)

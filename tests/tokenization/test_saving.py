"""Folders written here load here and in transformers, and the other way round, with the same ids."""

import json
import pickle
from copy import deepcopy

import pytest
import transformers
from tokenizers import AddedToken

TEXT = ["What is the MAN holding? unwanted", "don't US [FOO] café 中国 hel\u200blo Hello quokka"]
OPTIONS = [
    {},
    {"do_lower_case": False},
    {"strip_accents": False, "tokenize_chinese_chars": False},
    {"never_split": ["don't", "[FOO]", "US"]},
    {"do_basic_tokenize": False},
    {"clean_text": False},
    {"unk_token": "us"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("legacy_format", [None, False, True])
def test_saved_folder_loads_with_the_same_ids(
    tokenizer_class, small_vocabulary, tmp_path, options, legacy_format
):
    tokenizer = tokenizer_class(small_vocabulary, **options)
    tokenizer.add_tokens(["quokka"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["[IMG]"]})
    files = tokenizer.save_pretrained(tmp_path, legacy_format=legacy_format)
    names = {file.rsplit("/", 1)[-1] for file in files}
    assert ("tokenizer.json" in names) == (not legacy_format)
    assert ("vocab.txt" in names) == (legacy_format is not False)
    loaded = tokenizer_class.from_pretrained(tmp_path)
    assert loaded(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded("[IMG]")["input_ids"] == [2, len(small_vocabulary) + 1, 3]
    for name in ("do_lower_case", "do_basic_tokenize", "never_split", "clean_text", "strip_accents"):
        assert getattr(loaded, name) == getattr(tokenizer, name)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_transformers_loads_our_folder(tokenizer_class, small_vocabulary, tmp_path, options):
    tokenizer = tokenizer_class(small_vocabulary, **options)
    tokenizer.add_tokens(["quokka"])
    tokenizer.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert dict(theirs(TEXT)) == dict(tokenizer(TEXT))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lxmert"}))
    assert dict(transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXT)) == dict(tokenizer(TEXT))


def test_transformers_own_class_loads_our_folder(tokenizer_class, small_vocabulary, tmp_path):
    tokenizer = tokenizer_class(small_vocabulary, do_lower_case=False)
    tokenizer.save_pretrained(tmp_path)
    theirs = transformers.LxmertTokenizer.from_pretrained(tmp_path)
    assert theirs(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "LxmertTokenizer"


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_folder_saved_by_transformers_loads(tokenizer_class, vocab_file, tmp_path, options):
    theirs = transformers.LxmertTokenizer(str(vocab_file), model_max_length=20, **options)
    theirs.add_tokens(["quokka"])
    theirs.save_pretrained(tmp_path)
    loaded = tokenizer_class.from_pretrained(tmp_path)
    assert dict(loaded(TEXT)) == dict(theirs(TEXT))
    assert loaded.model_max_length == 20
    assert loaded.get_vocab() == theirs.get_vocab()


def test_folder_or_path_of_vocab_txt_alone_loads(tokenizer_class, vocab_file):
    loaded = tokenizer_class.from_pretrained(vocab_file.parent, do_lower_case=False)
    assert loaded.tokenize("Hello hello") == ["Hello", "hello"]
    assert tokenizer_class.from_pretrained(str(vocab_file)).tokenize("Hello") == ["hello"]


def test_option_overrides_tokenizer_json_which_serves_without_config(
    tokenizer_class, small_vocabulary, tmp_path
):
    tokenizer_class(small_vocabulary, do_lower_case=False).save_pretrained(tmp_path)
    assert tokenizer_class.from_pretrained(tmp_path, do_lower_case=True).tokenize("Hello") == ["hello"]
    (tmp_path / "tokenizer_config.json").unlink()
    assert tokenizer_class.from_pretrained(tmp_path).tokenize("Hello") == ["Hello"]


def test_options_can_be_changed_while_loading(tokenizer_class, small_vocabulary, tmp_path):
    tokenizer_class([*small_vocabulary, "@@ing"]).save_pretrained(tmp_path)
    loaded = tokenizer_class.from_pretrained(tmp_path, wordpieces_prefix="@@", never_split=["don't"])
    assert loaded.tokenize("using don't") == ["us", "@@ing", "don't"]


def test_save_vocabulary_writes_vocab_txt(tokenizer_class, vocab_file, tmp_path):
    tokenizer = tokenizer_class(vocab_file)
    tokenizer.add_tokens(["quokka"])
    (path,) = tokenizer.save_vocabulary(str(tmp_path))
    assert path == str(tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_bytes() == vocab_file.read_bytes()
    (path,) = tokenizer.save_vocabulary(str(tmp_path), filename_prefix="my")
    assert path == str(tmp_path / "my-vocab.txt")
    (path,) = tokenizer.save_vocabulary(str(tmp_path / "words.txt"))
    assert (tmp_path / "words.txt").read_bytes() == vocab_file.read_bytes()


def test_copies_are_independent(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, never_split=["don't"])
    for copy in (deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):  # noqa: S301
        copy.add_special_tokens({"cls_token": "<start>"})
        assert copy("don't").tokens() == ["<start>", "don't", "[SEP]"]
    assert tokenizer("don't").tokens() == ["[CLS]", "don't", "[SEP]"]


def _added_in_two_steps(tokenizer):
    tokenizer.add_tokens(["foozle"])
    tokenizer.add_special_tokens({"unk_token": "<u>"})


def _assigned(tokenizer):
    tokenizer.add_tokens(["foozle", "<u>"])
    tokenizer.unk_token = "<u>"


@pytest.mark.parametrize("change", [_added_in_two_steps, _assigned])
def test_tokens_added_before_unknown_token_keep_their_ids(
    tokenizer_class, small_vocabulary, tmp_path, change
):
    tokenizer, size = tokenizer_class(small_vocabulary), len(small_vocabulary)
    change(tokenizer)
    tokenizer.add_tokens(["quokka"])
    copies = [tokenizer, deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))]  # noqa: S301
    for legacy_format in (None, False, True):
        folder = tmp_path / str(legacy_format)
        tokenizer.save_pretrained(folder, legacy_format=legacy_format)
        copies.append(tokenizer_class.from_pretrained(folder))
    copies.append(transformers.AutoTokenizer.from_pretrained(tmp_path / "None"))
    for copy in copies:
        assert copy("is foozle ж quokka")["input_ids"] == [2, 6, size, size + 1, size + 2, 3]
        assert len(copy) == size + 3


@pytest.mark.parametrize("legacy_format", [None, False, True])
def test_added_tokens_match_as_before_after_loading(
    tokenizer_class, small_vocabulary, tmp_path, legacy_format
):
    tokenizer, size = tokenizer_class(small_vocabulary), len(small_vocabulary)
    tokenizer.add_tokens([AddedToken("foo", single_word=True), AddedToken("BAR", normalized=False)])
    tokenizer.add_special_tokens({"mask_token": AddedToken("<m>", lstrip=True)})
    tokenizer.save_pretrained(tmp_path, legacy_format=legacy_format)
    loaded = tokenizer_class.from_pretrained(tmp_path)
    for one in (tokenizer, loaded):
        assert one("foo is <m>")["input_ids"] == [2, size, 6, size + 2, 3]
        assert one("BAR")["input_ids"] == [2, size + 1, 3]
        assert one.tokenize("foos bar") == ["f", "##o", "##o", "##s", "b", "##a", "##r"]
        offsets = one("is <m>", return_offsets_mapping=True)["offset_mapping"]
        assert [tuple(pair) for pair in offsets] == [(0, 0), (0, 2), (2, 6), (0, 0)]
    assert len(loaded) == size + 3

"""Each option of the tokenizers of transformers 4.57 changes what it names, in both classes."""

import inspect
import unicodedata

import pytest
from torch import Tensor

from lxmert.errors import ConfigurationError
from lxmert.tokenization import LxmertTokenizer, LxmertTokenizerFast


def test_do_lower_case_controls_case_and_accents(tokenizer_class, small_vocabulary):
    assert tokenizer_class(small_vocabulary).tokenize("HELLO Café") == ["hello", "cafe"]
    cased = tokenizer_class(small_vocabulary, do_lower_case=False)
    assert cased.tokenize("Hello café hello") == ["Hello", "café", "hello"]
    assert cased.tokenize("HELLO") == ["[UNK]"]


def test_strip_accents_overrides_do_lower_case(tokenizer_class, small_vocabulary):
    assert tokenizer_class(small_vocabulary, do_lower_case=False, strip_accents=True).tokenize("café") == [
        "cafe"
    ]
    assert tokenizer_class(small_vocabulary, strip_accents=False).tokenize("CAFÉ") == ["café"]
    decomposed = unicodedata.normalize("NFD", "café")
    assert tokenizer_class(small_vocabulary).tokenize(decomposed) == ["cafe"]


def test_tokenize_chinese_chars_splits_chinese_characters(tokenizer_class, small_vocabulary):
    assert tokenizer_class(small_vocabulary).tokenize("中国") == ["中", "国"]
    assert tokenizer_class(small_vocabulary, tokenize_chinese_chars=False).tokenize("中国") == ["[UNK]"]


def test_clean_text_removes_control_characters_and_normalises_spaces(tokenizer_class, small_vocabulary):
    text = "hel\u200blo\u00a0we"  # U+200B is a control character, U+00A0 a white space
    assert tokenizer_class(small_vocabulary).tokenize(text) == ["hello", "we"]
    assert tokenizer_class(small_vocabulary, clean_text=False).tokenize(text) == ["[UNK]", "we"]


def test_without_basic_tokenization_only_white_space_splits(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, do_basic_tokenize=False)
    assert tokenizer.tokenize("Hello hello? café\u2003we\x1cwe") == ["Hello", "[UNK]", "café", "we", "we"]
    assert tokenizer.tokenize("don't HELLO") == ["don't", "[UNK]"]
    assert tokenizer.tokenize("hello[SEP]we") == ["hello", "[SEP]", "we"]
    assert tokenizer.do_lower_case is True


def test_never_split_keeps_words_whole(tokenizer_class, small_vocabulary):
    plain = tokenizer_class(small_vocabulary)
    assert plain.tokenize("we don't") == ["we", "d", "##o", "##n", "'", "t"]
    tokenizer = tokenizer_class(small_vocabulary, never_split=["don't"])
    assert tokenizer.tokenize("we don't, Don't? don'ts") == [
        *["we", "don't", ",", "don't", "?"],
        *["d", "##o", "##n", "'", "t", "##s"],
    ]
    assert len(tokenizer) == len(plain)


def test_never_split_keeps_case_and_accents_of_words(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, never_split=["US", "Hello"])
    assert tokenizer.tokenize("US us Us Hello HELLO hello") == ["US", "us", "us", "Hello", "hello", "hello"]
    cased = tokenizer_class(small_vocabulary, do_lower_case=False, never_split={"café", "don't"})
    assert cased.tokenize("café don't") == ["café", "don't"]


def test_never_split_falls_back_to_the_lower_case_word_of_the_vocabulary(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, never_split=["WE"])
    assert tokenizer.tokenize("WE we weed") == ["we", "we", "we", "##ed"]


def test_never_split_leaves_special_tokens_special(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, never_split=["[MASK]"])
    assert tokenizer.tokenize("is[MASK]the") == ["is", "[MASK]", "the"]
    assert tokenizer.decode([6, 4], skip_special_tokens=True) == "is"


def test_never_split_of_a_set_has_a_fixed_order(tokenizer_class, small_vocabulary):
    words = {f"word{number}" for number in range(20)}
    assert tokenizer_class(small_vocabulary, never_split=words).never_split == sorted(words)


def test_never_split_of_an_unknown_word_is_one_unknown_token(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, never_split=["we.want", "[FOO]", "a+b"])
    assert tokenizer.tokenize("we.want we, [FOO] a+b aaab [FOO]x") == [
        *["[UNK]", "we", ",", "[UNK]", "[UNK]", "a", "##a", "##a", "##b"],
        *tokenizer_class(small_vocabulary).tokenize("[FOO]x"),
    ]
    assert len(tokenizer) == len(small_vocabulary)
    tokenizer.add_tokens(["[FOO]"])
    assert tokenizer.tokenize("we [FOO]") == ["we", "[FOO]"]


def test_never_split_has_no_effect_without_basic_tokenization(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary, do_basic_tokenize=False, never_split=["we.want"])
    assert tokenizer.tokenize("we.want want") == ["[UNK]", "want"]
    assert "we.want" not in tokenizer.get_vocab()


@pytest.mark.parametrize("wrong", ["don't", 3, ["we", ""], ["we", 5]])
def test_never_split_must_be_a_collection_of_words(small_vocabulary, wrong):
    with pytest.raises(ConfigurationError, match="never_split"):
        LxmertTokenizer(small_vocabulary, never_split=wrong)


def test_wordpieces_prefix_replaces_default_prefix(tokenizer_class):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hold", "@@ing", "##ing"]
    tokenizer = tokenizer_class(words, wordpieces_prefix="@@")
    assert tokenizer.tokenize("holding") == ["hold", "@@ing"]
    assert tokenizer.convert_tokens_to_string(["hold", "@@ing"]) == "holding"
    assert tokenizer_class(words).tokenize("holding") == ["hold", "##ing"]


def test_custom_special_tokens_are_used(tokenizer_class):
    words = ["<p>", "<u>", "<c>", "<s>", "<m>", "hello"]
    names = {
        "pad_token": "<p>",
        "unk_token": "<u>",
        "cls_token": "<c>",
        "sep_token": "<s>",
        "mask_token": "<m>",
    }
    tokenizer = tokenizer_class(words, **names)
    assert tokenizer(["hello zz", "<m>"], padding=True)["input_ids"] == [[2, 5, 1, 3], [2, 4, 3, 0]]
    assert tokenizer.special_tokens_map == names
    assert len(tokenizer) == 6


def test_option_set_later_takes_effect_immediately(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary)
    tokenizer.do_lower_case = False
    assert tokenizer.tokenize("Hello") == ["Hello"]
    tokenizer.do_basic_tokenize = False
    assert tokenizer.tokenize("don't") == ["don't"]
    for fixed in ("never_split", "wordpieces_prefix"):
        with pytest.raises(AttributeError, match=fixed):
            setattr(tokenizer, fixed, ["hello"])


def test_init_arguments_are_in_order_of_transformers_4_57():
    slow = list(inspect.signature(LxmertTokenizer.__init__).parameters)[1:12]
    assert slow == [
        *["vocab_file", "do_lower_case", "do_basic_tokenize", "never_split", "unk_token", "sep_token"],
        *["pad_token", "cls_token", "mask_token", "tokenize_chinese_chars", "strip_accents"],
    ]
    fast = list(inspect.signature(LxmertTokenizerFast.__init__).parameters)[1:11]
    assert fast == [
        *["vocab_file", "tokenizer_file", "do_lower_case", "unk_token", "sep_token"],
        *["pad_token", "cls_token", "mask_token", "tokenize_chinese_chars", "strip_accents"],
    ]


def test_text_pair_is_encoded_and_decoded(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary)
    out = tokenizer("What is the man holding?", "unwanted")
    assert tokenizer.convert_ids_to_tokens(out["input_ids"]) == [
        *["[CLS]", "what", "is", "the", "man", "holding", "?", "[SEP]", "un", "##want", "##ed", "[SEP]"]
    ]
    assert out["token_type_ids"] == [0] * 8 + [1] * 4
    assert out["attention_mask"] == [1] * 12
    assert tokenizer.decode(out["input_ids"], skip_special_tokens=True) == "what is the man holding? unwanted"


def test_pad_returns_left_padded_tensors_to_multiple(tokenizer_class, small_vocabulary):
    rows = [{"input_ids": [2, 6, 3]}, {"input_ids": [2, 3]}]
    padded = tokenizer_class(small_vocabulary).pad(
        rows, return_tensors="pt", pad_to_multiple_of=2, padding_side="left"
    )
    assert {name: values.tolist() for name, values in padded.items()} == {
        "input_ids": [[0, 2, 6, 3], [0, 0, 2, 3]],
        "attention_mask": [[0, 1, 1, 1], [0, 0, 1, 1]],
    }
    assert isinstance(padded["input_ids"], Tensor)

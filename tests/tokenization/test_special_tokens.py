"""[CLS] A [SEP] B [SEP]: by the tokenizer call, by methods on ids, and after tokens change."""

import re

import pytest
from tokenizers import AddedToken

from lxmert.errors import VocabularyError


@pytest.fixture
def tokenizer(tokenizer_class, small_vocabulary):
    return tokenizer_class(small_vocabulary)


def test_special_token_methods_frame_one_sequence_and_pair(tokenizer):
    first, second = [10, 11, 12], [13]
    assert tokenizer.build_inputs_with_special_tokens(first) == [2, 10, 11, 12, 3]
    assert tokenizer.build_inputs_with_special_tokens(first, second) == [2, 10, 11, 12, 3, 13, 3]
    assert tokenizer.build_inputs_with_special_tokens(first, []) == [2, 10, 11, 12, 3, 3]
    assert tokenizer.create_token_type_ids_from_sequences(first) == [0, 0, 0, 0, 0]
    assert tokenizer.create_token_type_ids_from_sequences(first, second) == [0, 0, 0, 0, 0, 1, 1]
    assert tokenizer.get_special_tokens_mask(first) == [1, 0, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask(first, second) == [1, 0, 0, 0, 1, 0, 1]
    assert first == [10, 11, 12]


def test_special_tokens_mask_marks_special_tokens_already_in_ids(tokenizer):
    assert tokenizer.get_special_tokens_mask([2, 10, 3, 0], already_has_special_tokens=True) == [1, 0, 1, 1]
    with pytest.raises(ValueError, match="second sequence"):
        tokenizer.get_special_tokens_mask([2, 3], [4], already_has_special_tokens=True)


def test_special_token_methods_equal_tokenizer_call(tokenizer):
    first, second = "what is the man", "holding us?"
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (first, second)]
    out = tokenizer(first, second, return_special_tokens_mask=True)
    assert tokenizer.build_inputs_with_special_tokens(*ids) == out["input_ids"]
    assert tokenizer.create_token_type_ids_from_sequences(*ids) == out["token_type_ids"]
    assert tokenizer.get_special_tokens_mask(*ids) == out["special_tokens_mask"]


def test_special_token_set_to_vocabulary_word_takes_effect(tokenizer):
    tokenizer.sep_token = "man"
    assert tokenizer("is")["input_ids"] == [2, 6, 8]
    tokenizer.cls_token_id = 7
    assert tokenizer("is")["input_ids"] == [7, 6, 8]


def test_special_token_set_to_none_is_omitted(tokenizer):
    tokenizer.cls_token = None
    assert tokenizer("is", "is")["input_ids"] == [6, 3, 6, 3]
    assert tokenizer.build_inputs_with_special_tokens([6], [6]) == [6, 3, 6, 3]
    assert tokenizer.num_special_tokens_to_add(pair=True) == 2


def test_special_tokens_may_contain_space_or_colon(tokenizer):
    tokenizer.add_special_tokens({"cls_token": "<a b>", "sep_token": "x:0"})
    assert tokenizer("is").tokens() == ["<a b>", "is", "x:0"]


def test_unknown_token_takes_effect(tokenizer, small_vocabulary):
    assert tokenizer.add_special_tokens({"unk_token": "<what>"}) == 1
    assert tokenizer("ж")["input_ids"] == [2, len(small_vocabulary), 3]
    assert len(tokenizer) == len(small_vocabulary) + 1
    tokenizer.unk_token = "us"
    assert tokenizer.tokenize("ж") == ["us"]


NAMES = ["cls_token", "sep_token", "unk_token", "pad_token", "mask_token", "bos_token", "eos_token"]


@pytest.mark.parametrize("name", NAMES)
def test_special_token_outside_the_vocabulary_is_refused_until_added(tokenizer, name):
    before = tokenizer("is the", "ж", padding="max_length", max_length=9)["input_ids"]
    for token in ("<start>", AddedToken("<start>")):
        with pytest.raises(VocabularyError, match=rf"^{name} cannot be '<start>', .* add_special_tokens\("):
            setattr(tokenizer, name, token)
    assert getattr(tokenizer, name) == (None if name[0] in "be" else f"[{name[:-6].upper()}]")
    assert tokenizer("is the", "ж", padding="max_length", max_length=9)["input_ids"] == before
    assert tokenizer.add_special_tokens({name: "<start>"}) == 1
    assert getattr(tokenizer, name) == "<start>"
    setattr(tokenizer, name, "<start>")
    with pytest.raises(VocabularyError):
        setattr(tokenizer, name, "<other>")


def test_extra_special_token_outside_the_vocabulary_is_refused_until_added(tokenizer):
    advice = re.escape(
        "cannot contain '<x>', which is not in the vocabulary; add it with add_special_tokens({'extra"
    )
    with pytest.raises(VocabularyError, match=advice):
        tokenizer.extra_special_tokens = ["man", "<x>"]
    assert tokenizer.extra_special_tokens == []
    tokenizer.extra_special_tokens = ["man"]
    assert tokenizer.extra_special_tokens_ids == [8]


@pytest.mark.parametrize("index", [500, -1, 2**40, True])
def test_id_of_no_token_is_refused(tokenizer, index):
    with pytest.raises(
        VocabularyError, match=re.escape(f"cls_token_id cannot be {index!r}, which is not the id")
    ):
        tokenizer.cls_token_id = index
    assert tokenizer("is")["input_ids"] == [2, 6, 3]
    tokenizer.cls_token_id = 7
    assert tokenizer("is")["input_ids"] == [7, 6, 3]
    tokenizer.cls_token_id = None
    assert tokenizer("is")["input_ids"] == [6, 3]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"nonsense": "x"}, "Key nonsense is not"),
        ({"pad_token": 3}, "Token 3 for key pad_token"),
        ({"extra_special_tokens": "<e>"}, "Tokens <e> for key extra_special_tokens"),
        ({"mask_token": ""}, "mask_token is ''"),
    ],
)
def test_special_tokens_are_added_all_or_none(tokenizer, small_vocabulary, fault, message):
    tokenizer.add_tokens(["<known>"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<first>"]})
    state, pipeline = tokenizer.special_tokens_map, tokenizer.backend_tokenizer.to_str()
    with pytest.raises(ValueError, match=message):
        tokenizer.add_special_tokens(
            {"cls_token": "<c>", "unk_token": "<known>", "extra_special_tokens": ["<second>"]} | fault,
            replace_extra_special_tokens=False,
        )
    assert tokenizer.special_tokens_map == state
    assert tokenizer.extra_special_tokens == ["<first>"]
    assert tokenizer.backend_tokenizer.to_str() == pipeline
    assert tokenizer("is ж")["input_ids"] == [2, 6, 1, 3]
    tokenizer.add_special_tokens({"cls_token": "<c>", "unk_token": "<known>"})
    assert tokenizer("is ж")["input_ids"] == [len(small_vocabulary) + 2, 6, len(small_vocabulary), 3]


@pytest.mark.parametrize("given", [{"cls_token": ""}, {"extra_special_tokens": ["<e>", AddedToken("")]}])
def test_empty_special_token_is_refused(tokenizer, given):
    with pytest.raises(VocabularyError, match=rf"^{next(iter(given))} is .*, but a token cannot be empty"):
        tokenizer.add_special_tokens(given)


def test_additional_special_tokens_is_another_name_of_the_extra_ones(tokenizer):
    with pytest.raises(VocabularyError, match=r"extra_special_tokens cannot contain '<x>'"):
        tokenizer.additional_special_tokens = ["<x>"]
    with pytest.raises(VocabularyError, match="a token cannot be empty"):
        tokenizer.add_special_tokens({"additional_special_tokens": ["<x>", ""]})
    assert tokenizer.additional_special_tokens == []
    tokenizer.add_special_tokens({"additional_special_tokens": ["<x>"]})
    assert tokenizer.additional_special_tokens == tokenizer.extra_special_tokens == ["<x>"]
    assert len(tokenizer.tokenize("<x>")) == 1
    tokenizer.additional_special_tokens = []
    assert tokenizer.extra_special_tokens == []


def test_bos_and_eos_tokens_are_never_added(tokenizer):
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.add_bos_token = True
    tokenizer.add_eos_token = True
    assert tokenizer("is")["input_ids"] == [2, 6, 3]
    assert tokenizer.add_eos_token is False


def test_special_tokens_in_the_text_are_not_split(tokenizer):
    assert tokenizer.tokenize("is[MASK]the [mask]")[:3] == ["is", "[MASK]", "the"]
    assert "[MASK]" not in tokenizer.tokenize("is[MASK]the", split_special_tokens=True)

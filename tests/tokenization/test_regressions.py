"""Faults of transformers' tokenizers that are absent here: one test per line of docs/compatibility.md."""

import json

import pytest

from lxmert.errors import ConfigurationError, InputError, VocabularyError


def test_vocab_file_keyword_loads_the_vocabulary(tokenizer_class, vocab_file, small_vocabulary):
    tokenizer = tokenizer_class(vocab_file=str(vocab_file))
    assert len(tokenizer) == len(small_vocabulary)
    assert tokenizer("hello")["input_ids"] == [2, small_vocabulary.index("hello"), 3]


def test_folder_without_vocabulary_raises_vocabulary_error(tokenizer_class, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    with pytest.raises(VocabularyError, match="no vocabulary in") as error:
        tokenizer_class.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_uncached_hub_name_without_connection_raises_error_about_the_hub(tokenizer_class, tmp_path):
    expected = "no vocabulary of 'owner/name': there is no such folder, the hub's cache has no vocab.txt"
    with pytest.raises(VocabularyError, match=expected):
        tokenizer_class.from_pretrained("owner/name", cache_dir=tmp_path, local_files_only=True)


def test_changed_special_token_takes_effect_immediately(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary)
    assert tokenizer.add_special_tokens({"cls_token": "<start>"}) == 1
    start = len(small_vocabulary)
    assert tokenizer("hello", "us")["input_ids"] == [start, 10, 3, 14, 3]
    assert tokenizer.build_inputs_with_special_tokens([10]) == [start, 10, 3]


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"never_split": ["don't"]}, "don't"),
        ({"do_basic_tokenize": False}, "don't"),
        ({"clean_text": False}, "hel\u200blo"),
        ({"wordpieces_prefix": "#"}, "unwanted"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_no_option_is_ignored(tokenizer_class, small_vocabulary, option, text):
    assert tokenizer_class(small_vocabulary, **option).tokenize(text) != tokenizer_class(
        small_vocabulary
    ).tokenize(text)


def test_special_tokens_mask_of_ids_without_special_tokens(tokenizer_class, small_vocabulary):
    assert tokenizer_class(small_vocabulary).get_special_tokens_mask([5], [6]) == [1, 0, 1, 0, 1]


def test_methods_of_older_documentation_exist(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary)
    assert tokenizer.build_inputs_with_special_tokens([5], [6]) == [2, 5, 3, 6, 3]
    assert tokenizer.create_token_type_ids_from_sequences([5], [6]) == [0, 0, 0, 1, 1]
    assert tokenizer.prepare_for_model([5], [6])["input_ids"] == [2, 5, 3, 6, 3]
    assert tokenizer.encode_plus("hello", "us")["input_ids"] == [2, 10, 3, 14, 3]
    batch = tokenizer.batch_encode_plus(
        [("hello", "us"), ("us", "hello we")], padding=True, return_tensors="pt"
    )
    assert batch["input_ids"].tolist() == [
        [2, 10, 3, 14, 3, 0],
        [2, 14, 3, 10, small_vocabulary.index("we"), 3],
    ]


def test_save_vocabulary_writes_vocab_txt_not_tokenizer_model(tokenizer_class, small_vocabulary, tmp_path):
    files = tokenizer_class(small_vocabulary).save_vocabulary(str(tmp_path))
    assert files == (str(tmp_path / "vocab.txt"),)
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.txt"]


def test_empty_list_of_texts_gives_empty_batch(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary)
    for empty in ([], ()):
        assert dict(tokenizer(empty)) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    tensors = tokenizer(
        [], [], padding=True, return_tensors="pt", return_offsets_mapping=True, return_length=True
    )
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    matrices = dict.fromkeys(("input_ids", "token_type_ids", "attention_mask"), (0, 0))
    assert shapes == {**matrices, "offset_mapping": (0, 0, 2), "length": (0,)}
    assert str(tensors["input_ids"].dtype) == "torch.int64"
    assert set(tokenizer([], return_token_type_ids=False, return_special_tokens_mask=True)) == {
        *["input_ids", "attention_mask", "special_tokens_mask"]
    }
    mapping = tokenizer([], return_overflowing_tokens=True, return_tensors="np")["overflow_to_sample_mapping"]
    assert mapping.shape == (0,)
    with pytest.raises(ValueError, match="batch length"):
        tokenizer([], ["hello"])
    assert tokenizer([], is_split_into_words=True)["input_ids"] == [2, 3]


def test_do_lower_case_can_be_read_without_basic_tokenization(tokenizer_class, small_vocabulary):
    assert tokenizer_class(small_vocabulary, do_basic_tokenize=False).do_lower_case is True


def test_lower_case_follows_the_fast_class_of_4_57(tokenizer_class):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "οδοσ", "οδος", "ss", "ß", "i"]
    tokenizer = tokenizer_class(words)
    assert tokenizer.tokenize("ΟΔΟΣ") == ["οδοσ"]
    assert tokenizer.tokenize("ẞ İ") == ["ß", "i"]


@pytest.mark.parametrize(
    ("texts", "keywords", "message"),
    [
        (("a b c d",), {"max_length": 4, "stride": 2}, "stride is 2, but max_length=4 leaves 2 word pieces"),
        (("a b c d",), {"max_length": 4, "stride": 3}, "stride is 3, but max_length=4 leaves 2 word pieces"),
        ((["a b c d", "a"],), {"max_length": 4, "stride": 2}, "stride is 2, but max_length=4 leaves 2"),
        (("a b c d", "e f"), {"max_length": 6, "stride": 3}, "stride is 3, but max_length=6 leaves 3"),
        (("a b c d", "e f"), {"max_length": 7, "stride": 3}, "stride is 3, but max_length=7 leaves no more"),
        (
            ("a b c d", "e f"),
            {"truncation": "only_second", "max_length": 5},
            "cannot truncate to max_length=5 under truncation='only_second'",
        ),
        (("a b c d",), {"truncation": "only_second", "max_length": 4}, "Second sequence not provided"),
    ],
)
def test_impossible_truncation_raises_one_line_input_error(
    tokenizer_class, small_vocabulary, texts, keywords, message
):
    tokenizer = tokenizer_class(small_vocabulary)
    for overflow in (True, False):
        with pytest.raises(InputError) as error:
            tokenizer(*texts, **({"truncation": True} | keywords), return_overflowing_tokens=overflow)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert tokenizer("hello")["input_ids"] == [2, 10, 3]


@pytest.mark.parametrize(
    ("texts", "length", "special"),
    [
        (("a b c",), 1, 2),
        ((["a b c", "d"],), -1, 2),
        (("a b c", "d"), 2, 3),
        (([("a b c", "d")],), 2, 3),
        (("a b c", "d"), -1, 0),
    ],
)
def test_max_length_below_special_tokens_raises_input_error(
    tokenizer_class, small_vocabulary, texts, length, special
):
    framed = {} if special else {"add_special_tokens": False}
    with pytest.raises(InputError, match=f"max_length is {length}, expected at least {special}"):
        tokenizer_class(small_vocabulary)(*texts, truncation=True, max_length=length, **framed)


def test_max_length_of_special_tokens_only_is_accepted(tokenizer_class, small_vocabulary):
    tokenizer = tokenizer_class(small_vocabulary)
    assert tokenizer("a b c", truncation=True, max_length=2)["input_ids"] == [2, 3]
    assert len(tokenizer("a b", truncation=True, max_length=1, add_special_tokens=False)["input_ids"]) == 1
    assert tokenizer([("a b", "c")], truncation=True, max_length=3)["input_ids"] == [[2, 3, 3]]


@pytest.mark.parametrize(
    ("length", "special", "expected"),
    [(5, True, ["a b c", "b c d", "c d e", "d e f"]), (4, False, ["a b c d", "c d e f"])],
)
def test_longest_possible_stride_is_accepted(tokenizer_class, small_vocabulary, length, special, expected):
    tokenizer = tokenizer_class(small_vocabulary)
    keywords = {"truncation": True, "stride": 2, "return_overflowing_tokens": True}
    parts = tokenizer("a b c d e f", max_length=length, add_special_tokens=special, **keywords)
    assert tokenizer.batch_decode(parts["input_ids"], skip_special_tokens=True) == expected
    assert len(tokenizer("a b", stride=9)["input_ids"]) == 4  # nothing is cut


@pytest.mark.parametrize("content", [b"{", b"[]", b"5", b"\xff"])
def test_malformed_tokenizer_config_raises_configuration_error(
    tokenizer_class, small_vocabulary, tmp_path, content
):
    tokenizer_class(small_vocabulary).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"tokenizer_config\.json: (not a valid JSON|contains a)"):
        tokenizer_class.from_pretrained(tmp_path)


@pytest.mark.usefixtures("usual_recursion_limit")
@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
def test_file_nested_too_deeply_raises_vocabulary_error(tokenizer_class, small_vocabulary, tmp_path, name):
    tokenizer_class(small_vocabulary).save_pretrained(tmp_path)
    (tmp_path / name).write_text(f'{{"x": {"[" * 600}{"]" * 600}}}')
    with pytest.raises(VocabularyError, match="nested too deeply"):
        tokenizer_class.from_pretrained(tmp_path)

"""The same ids as transformers: 10,000 fuzzed texts against the installed 5.x, golden ids of 4.57."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from lxmert.tokenization import LxmertTokenizer, LxmertTokenizerFast
from tests.tokenization.texts import fuzzed_texts

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "tokenizer_4_57.json").read_text(encoding="utf-8")
)
OPTIONS = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": False, "strip_accents": True},
    {"strip_accents": False},
    {"tokenize_chinese_chars": False},
    {"do_lower_case": False, "tokenize_chinese_chars": False, "strip_accents": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fuzzed_texts_have_the_ids_of_transformers_5(bert_vocabulary, options):
    """10,000 texts over all options, each as a single text, and each with its neighbour as a pair."""
    number = 10_000
    texts = fuzzed_texts(number, seed=100 + OPTIONS.index(options))
    ours = LxmertTokenizer(bert_vocabulary, **options)
    theirs = transformers.LxmertTokenizer(bert_vocabulary, **options)
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    pairs, fast = texts[: number // 5], LxmertTokenizerFast(bert_vocabulary, **options)
    keywords = {"padding": "max_length", "truncation": True, "max_length": 20, "return_offsets_mapping": True}
    assert dict(fast(pairs, pairs[::-1], **keywords)) == dict(theirs(pairs, pairs[::-1], **keywords))
    assert fast.batch_decode(ours(pairs)["input_ids"]) == theirs.batch_decode(theirs(pairs)["input_ids"])


def test_small_vocabulary_has_the_ids_of_transformers_5(vocab_file, tokenizer_class):
    texts = fuzzed_texts(1_000, seed=5)
    theirs = transformers.LxmertTokenizer(str(vocab_file))
    assert tokenizer_class(vocab_file)(texts)["input_ids"] == theirs(texts)["input_ids"]


def _encoded(options: dict[str, Any]) -> list[dict[str, Any]]:
    return [case for case in GOLDEN["encoded"] if case["options"] == options]


@pytest.mark.parametrize("options", OPTIONS[:5], ids=str)
def test_golden_ids_of_the_fast_class_of_4_57(bert_vocabulary, tokenizer_class, options):
    cases = _encoded(options)
    assert len(cases) >= 60
    ids = tokenizer_class(bert_vocabulary, **options)([case["text"] for case in cases])["input_ids"]
    assert ids == [case["fast"] for case in cases]


def test_slow_class_of_4_57_differs_only_on_rare_characters(bert_vocabulary):
    """It agrees on every text of common characters; where it differs, 5.x is followed."""
    cases = GOLDEN["encoded"]
    different = [case for case in cases if "slow" in case]
    assert 0 < len(different) < len(cases) / 8
    for case in different:
        assert any(ord(letter) >= 0x300 for letter in case["text"])
        theirs = transformers.LxmertTokenizer(bert_vocabulary, **case["options"])
        assert theirs(case["text"])["input_ids"] == case["fast"]


def test_unassigned_character_is_unknown_and_not_removed(tokenizer_class, small_vocabulary):
    """The slow class of 4.57 drops U+0E00; its fast class and 5.x answer [UNK]."""
    assert tokenizer_class(small_vocabulary).tokenize("us \u0e00") == ["us", "[UNK]"]


def test_golden_ids_without_basic_tokenization(bert_vocabulary, tokenizer_class):
    golden = GOLDEN["white_space_only"]
    tokenizer = tokenizer_class(bert_vocabulary, **golden["options"])
    assert tokenizer(golden["texts"])["input_ids"] == golden["ids"]


def test_golden_ids_with_never_split(bert_vocabulary, tokenizer_class):
    golden = GOLDEN["never_split"]
    tokenizer = tokenizer_class(bert_vocabulary, **golden["options"])
    assert tokenizer(golden["texts"])["input_ids"] == golden["ids"]


@pytest.mark.parametrize("case", GOLDEN["prepared"], ids=lambda case: str(case["keywords"]["truncation"]))
def test_golden_prepare_for_model(bert_vocabulary_tokenizer, case):
    tokenizer = bert_vocabulary_tokenizer
    tokenizer.truncation_side = tokenizer.padding_side = case["side"]
    out = tokenizer.prepare_for_model(case["ids"], case["pair_ids"], **case["keywords"])
    assert dict(out) == case["out"]


@pytest.fixture(scope="module")
def bert_vocabulary_tokenizer(bert_vocabulary):
    return LxmertTokenizer(bert_vocabulary)

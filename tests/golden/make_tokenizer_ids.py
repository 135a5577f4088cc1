"""Writes tokenizer_4_57.json: the answers of the slow (Python) and the fast tokenizer of transformers 4.57.

Run from the root of the repository with a Python that has transformers 4.57, which this package does not use:

    LXMERT_TEST_DATA=... python -m tests.golden.make_tokenizer_ids
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import transformers
from transformers import LxmertTokenizer, LxmertTokenizerFast

from tests.tokenization.texts import WORDS, fuzzed_texts

OPTIONS: list[dict[str, Any]] = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": False, "strip_accents": True},
    {"strip_accents": False},
    {"tokenize_chinese_chars": False},
]
NEVER_SPLIT = ["don't", "e-mail", "U.S.A.", "café", "[unused1]", "[FOO]"]


def _encoded(vocabulary: str) -> list[dict[str, Any]]:
    cases = []
    for index, options in enumerate(OPTIONS):
        slow, fast = LxmertTokenizer(vocabulary, **options), LxmertTokenizerFast(vocabulary, **options)
        for text in fuzzed_texts(300 if not options else 60, seed=index):
            case = {"options": options, "text": text, "fast": fast(text)["input_ids"]}
            slow_ids = slow(text)["input_ids"]
            cases.append(case if slow_ids == case["fast"] else {**case, "slow": slow_ids})
    return cases


def _encoded_by_slow_tokenizer(vocabulary: str, texts: list[str], **options: Any) -> dict[str, Any]:
    tokenizer = LxmertTokenizer(vocabulary, **options)
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return {"options": options, "texts": texts, "ids": ids}


def _spaced_texts() -> list[str]:
    rng = random.Random(7)
    plain = [word for word in WORDS if word.isascii() and word.isalnum()]
    return [" ".join(rng.choice([*plain, *NEVER_SPLIT]) for _ in range(6)) for _ in range(40)]


def _prepared(vocabulary: str) -> list[dict[str, Any]]:
    tokenizer = LxmertTokenizer(vocabulary)
    rng = random.Random(3)
    cases = []
    for strategy in (False, "longest_first", "only_first", "only_second"):
        for side in ("right", "left"):
            tokenizer.truncation_side = tokenizer.padding_side = side
            for _ in range(6):
                ids = rng.sample(range(1000, 2000), rng.randrange(5, 15))
                pair = rng.sample(range(1000, 2000), rng.randrange(5, 15))
                pair_ids = pair if strategy == "only_second" or rng.random() < 0.5 else None
                keywords = {
                    "truncation": strategy,
                    "max_length": max(len(ids) + len(pair_ids or []) - rng.randrange(-8, 3), 8),
                    "padding": "max_length" if rng.random() < 0.5 else False,
                    "add_special_tokens": rng.random() < 0.8,
                    "stride": rng.randrange(2),
                    "return_special_tokens_mask": True,
                    "return_overflowing_tokens": strategy in ("only_first", "only_second"),
                    "return_length": True,
                }
                out = dict(tokenizer.prepare_for_model(ids, pair_ids, **keywords))
                cases.append(
                    {"side": side, "ids": ids, "pair_ids": pair_ids, "keywords": keywords, "out": out}
                )
    return cases


def main() -> None:
    vocabulary = str(Path(os.environ["LXMERT_TEST_DATA"]) / "bert" / "vocab.txt")
    golden = {
        "transformers": transformers.__version__,
        "encoded": _encoded(vocabulary),
        "white_space_only": _encoded_by_slow_tokenizer(
            vocabulary, fuzzed_texts(100, seed=11), do_basic_tokenize=False
        ),
        "never_split": _encoded_by_slow_tokenizer(
            vocabulary, _spaced_texts(), do_lower_case=False, never_split=NEVER_SPLIT
        ),
        "prepared": _prepared(vocabulary),
    }
    target = Path(__file__).with_name("tokenizer_4_57.json")
    lines = [f"{json.dumps(name)}: {_json_value(value)}" for name, value in golden.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _json_value(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(item) for item in value) + "\n]"
    return json.dumps(value)


if __name__ == "__main__":
    main()

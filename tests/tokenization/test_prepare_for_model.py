"""`prepare_for_model` and `truncate_sequences`, against a literal reading of the documentation."""

import random

import pytest

from lxmert.errors import InputError
from lxmert.tokenization import LxmertTokenizer


@pytest.fixture
def tokenizer(small_vocabulary):
    return LxmertTokenizer(small_vocabulary)


def _truncate_one_by_one(first, second, number, side):
    first, second = list(first), list(second)
    for _ in range(number):
        longer = first if len(first) > len(second) else second
        if longer:
            longer.pop(0 if side == "left" else -1)
    return first, second


@pytest.mark.parametrize("side", ["right", "left"])
def test_longest_first_truncates_longer_sequence(tokenizer, side):
    tokenizer.truncation_side = side
    rng = random.Random(0)
    for _ in range(300):
        first, second = list(range(rng.randrange(12))), list(range(50, 50 + rng.randrange(12)))
        number = rng.randrange(len(first) + len(second) + 1)
        kept = tokenizer.truncate_sequences(first, second, number)
        lengths = [len(part) for part in kept[:2]]
        # Which of two equally long ones goes first is open: the results differ by one id at most.
        expected = _truncate_one_by_one(first, second, number, side)
        assert sum(lengths) == sum(map(len, expected))
        assert abs(lengths[0] - len(expected[0])) <= 1
        for part, whole in zip(kept[:2], (first, second), strict=True):
            assert part == (whole[len(whole) - len(part) :] if side == "left" else whole[: len(part)])
        assert kept[2] == []


def test_truncating_one_sequence_returns_overflowing_ids(tokenizer):
    assert tokenizer.truncate_sequences([1, 2, 3, 4], None, 2, stride=1) == ([1, 2], None, [2, 3, 4])
    assert tokenizer.truncate_sequences([1], [5, 6, 7], 1, "only_second") == ([1], [5, 6], [7])
    tokenizer.truncation_side = "left"
    assert tokenizer.truncate_sequences([1, 2, 3, 4], [5], 2, "only_first", 1) == ([3, 4], [5], [1, 2, 3])
    assert tokenizer.truncate_sequences([1, 2], None, 0) == ([1, 2], None, [])


def test_impossible_truncation_raises_input_error(tokenizer):
    with pytest.raises(InputError, match="cannot remove 3 ids"):
        tokenizer.truncate_sequences([1, 2], [3, 4, 5], 3, "only_first")
    with pytest.raises(
        InputError, match=r"cannot remove 3 ids .* from a sequence of 2; use a larger max_length$"
    ):
        tokenizer.truncate_sequences([1, 2], None, 3)
    for pair in (None, [8]):
        with pytest.raises(
            InputError, match=r"^max_length is 1, expected at least [23]: truncated texts keep"
        ):
            tokenizer.prepare_for_model([5, 6, 7], pair, truncation=True, max_length=1)
    with pytest.raises(InputError, match="sequence of 0"):
        tokenizer.truncate_sequences([1, 2], None, 1, "only_second")
    with pytest.raises(InputError, match="longest_first"):
        tokenizer.prepare_for_model([5], [6], truncation=True, max_length=3, return_overflowing_tokens=True)


def test_prepare_for_model_equals_tokenizer_call(tokenizer):
    texts = ["what is the man holding", "us we want hello unwanted"]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    rng = random.Random(1)
    for _ in range(60):
        keywords = {
            "truncation": rng.choice(["only_first", "only_second", False]),
            "max_length": rng.choice([11, 12, 20]),
            "padding": rng.choice([False, "max_length"]),
            "return_special_tokens_mask": True,
            "return_tensors": rng.choice([None, "pt"]),
        }
        tokenizer.padding_side = rng.choice(["left", "right"])
        tokenizer.truncation_side = rng.choice(["left", "right"])
        batch = keywords["return_tensors"] is not None
        prepared = tokenizer.prepare_for_model(*ids, prepend_batch_axis=batch, **keywords)
        called = tokenizer(*texts, **keywords)
        assert {name: list(map(str, value)) for name, value in prepared.items()} == {
            name: list(map(str, value)) for name, value in called.items()
        }


def test_prepare_for_model_returns_requested_fields_and_length(tokenizer):
    out = tokenizer.prepare_for_model(
        [5, 6], return_attention_mask=False, return_token_type_ids=False, return_length=True
    )
    assert dict(out) == {"input_ids": [2, 5, 6, 3], "length": 4}
    out = tokenizer.prepare_for_model(
        [5, 6], [7], add_special_tokens=False, pad_to_multiple_of=4, padding=True
    )
    assert out["input_ids"] == [5, 6, 7, 0]
    assert out["token_type_ids"] == [0, 0, 0, 0]
    assert out["attention_mask"] == [1, 1, 1, 0]


def test_padding_side_argument_overrides_attribute(tokenizer):
    keywords = {"padding": "max_length", "max_length": 6}
    assert tokenizer.prepare_for_model([5, 6], **keywords)["input_ids"] == [2, 5, 6, 3, 0, 0]
    left = tokenizer.prepare_for_model([5, 6], padding_side="left", **keywords)
    assert left["input_ids"] == [0, 0, 2, 5, 6, 3]
    assert left["attention_mask"] == [0, 0, 1, 1, 1, 1]

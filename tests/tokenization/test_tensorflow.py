"""`return_tensors="tf"`, as in the examples of the documentation."""

import sys
from typing import Any

import pytest

from lxmert.errors import InputError, MissingExtraError

KEYWORDS: dict[str, Any] = {"padding": True, "return_special_tokens_mask": True, "return_length": True}


@pytest.fixture
def tf() -> Any:
    return pytest.importorskip("tensorflow")


def _as_lists(encoding: Any) -> dict[str, Any]:
    tf = sys.modules["tensorflow"]
    assert all(tf.is_tensor(value) and value.dtype == tf.int32 for value in encoding.values())
    return {name: value.numpy().tolist() for name, value in encoding.items()}


@pytest.mark.parametrize(
    ("given", "keywords"),
    [
        (("hello",), {"padding": False}),
        ((["hello", "what is the man holding", "us"],), {}),
        ((["hello", "us", "we want"], ["what is", "the man", "us"]), {}),
        (([("hello", "us"), ("us", "hello we"), ("we", "us")],), {}),
        (
            (["what is the man holding", "hello"],),
            {"truncation": True, "max_length": 4, "stride": 1, "return_overflowing_tokens": True},
        ),
        (([],), {}),
    ],
    ids=["one", "batch", "pairs", "tuples", "overflow", "empty"],
)
def test_tf_tensors_equal_numpy_arrays(tokenizer_class, small_vocabulary, tf, given, keywords) -> None:
    tokenizer = tokenizer_class(small_vocabulary)
    keywords = KEYWORDS | keywords
    if given == ("hello",):
        assert tokenizer(*given, return_tensors="tf")["input_ids"].shape == (1, 3)
    expected = tokenizer(*given, return_tensors="np", **keywords)
    got = tokenizer(*given, return_tensors="tf", **keywords)
    assert _as_lists(got) == {name: value.tolist() for name, value in expected.items()}
    assert len(got.encodings) == len(expected.encodings)


def test_pad_prepare_for_model_and_encode_return_tf_tensors(tokenizer_class, small_vocabulary, tf) -> None:
    tokenizer = tokenizer_class(small_vocabulary)
    padded = tokenizer.pad([tokenizer("hello"), tokenizer("we want us")], return_tensors="tf")
    assert _as_lists(padded)["attention_mask"] == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    prepared = tokenizer.prepare_for_model(
        [5, 6, 7],
        max_length=4,
        truncation=True,
        return_overflowing_tokens=True,
        return_tensors="tf",
        prepend_batch_axis=True,
    )
    assert _as_lists(prepared) == {
        "input_ids": [[2, 5, 6, 3]],
        "token_type_ids": [[0, 0, 0, 0]],
        "attention_mask": [[1, 1, 1, 1]],
        "overflowing_tokens": [[7]],
        "num_truncated_tokens": [1],
    }
    assert _as_lists({"ids": tokenizer.encode("hello", return_tensors="tf")}) == {"ids": [[2, 10, 3]]}
    pair = tokenizer.encode_plus("hello", "us", return_tensors="tf")
    assert _as_lists(pair)["input_ids"] == [[2, 10, 3, 14, 3]]


def test_float_labels_become_float32_tf_tensors(tokenizer_class, small_vocabulary, tf) -> None:
    tokenizer = tokenizer_class(small_vocabulary)
    rows = [{"input_ids": [2, 10, 3], "labels": 0.5}, {"input_ids": [2, 3], "labels": 1.0}]
    padded = tokenizer.pad(rows, return_tensors="tf")
    assert padded["labels"].dtype == tf.float32
    assert padded["labels"].numpy().tolist() == [0.5, 1.0]
    assert padded["input_ids"].dtype == tf.int32


def test_tf_tensors_are_decoded_and_padded(tokenizer_class, small_vocabulary, tf) -> None:
    tokenizer = tokenizer_class(small_vocabulary)
    ids = tf.constant([[2, 10, 3]])
    assert tokenizer.batch_decode(ids) == ["[CLS] hello [SEP]"]
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == "hello"
    together = tokenizer.pad({"input_ids": ids}, padding="max_length", max_length=4, return_tensors="tf")
    assert _as_lists(together) == {"input_ids": [[2, 10, 3, 0]], "attention_mask": [[1, 1, 1, 0]]}
    single = tokenizer.pad([{"input_ids": ids[0]}, {"input_ids": ids[0, :2]}], return_tensors="tf")
    assert _as_lists(single)["input_ids"] == [[2, 10, 3], [2, 10, 0]]


def test_unpadded_texts_of_different_length_raise_input_error(tokenizer_class, small_vocabulary, tf) -> None:
    with pytest.raises(InputError, match="of different lengths cannot form a tensor: pass padding=True"):
        tokenizer_class(small_vocabulary)(["hello", "we want"], return_tensors="tf")


@pytest.mark.parametrize("method", ["__call__", "pad", "prepare_for_model"])
def test_missing_tensorflow_raises_missing_extra_error(
    tokenizer_class, small_vocabulary, monkeypatch, method
) -> None:
    tokenizer = tokenizer_class(small_vocabulary)
    given = {"__call__": "hello", "pad": [tokenizer("hello")], "prepare_for_model": [5]}[method]
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lxmert\[tf-cpu\]"'):
        getattr(tokenizer, method)(given, return_tensors="tf")

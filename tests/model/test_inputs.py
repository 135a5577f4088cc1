"""Invalid model inputs raise a TensorError that names them; inputs of other dtypes are cast."""

from typing import Any

import pytest
import torch

from lxmert.errors import TensorError
from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from tests.model.small import BATCH, OBJECTS, WORDS, inputs, small_config

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input_ids": None}, "pass exactly one of input_ids and inputs_embeds, got neither"),
    (
        {"inputs_embeds": torch.zeros(BATCH, WORDS, 24)},
        "pass exactly one of input_ids and inputs_embeds, got both",
    ),
    ({"visual_feats": None}, "visual_feats is missing"),
    ({"visual_pos": None}, "visual_pos is missing"),
    ({"input_ids": torch.ones(BATCH, WORDS)}, "input_ids must be integers, got torch.float32"),
    (
        {"input_ids": torch.full((BATCH, WORDS), 61)},
        "input_ids has the id 61, expected 0..60 (vocab_size is 61)",
    ),
    ({"input_ids": torch.full((BATCH, WORDS), -1)}, "input_ids has the id -1, expected 0..60"),
    ({"input_ids": torch.ones(WORDS).long()}, "input_ids has shape (7,), expected (any, any): batch, words"),
    ({"input_ids": [[1, 2]]}, "input_ids must be a torch tensor, got list"),
    ({"token_type_ids": torch.full((BATCH, WORDS), 2)}, "token_type_ids has the id 2, expected 0..1"),
    ({"token_type_ids": torch.zeros(BATCH, 3).long()}, "token_type_ids has shape (3, 3), expected (3, 7)"),
    ({"attention_mask": torch.ones(BATCH, 1, WORDS)}, "attention_mask has shape (3, 1, 7), expected (3, 7)"),
    (
        {"visual_attention_mask": torch.ones(BATCH, WORDS)},
        "visual_attention_mask has shape (3, 7), expected (3, 5)",
    ),
    # As they are added to scores, as numbers of packed texts, and broken ones.
    (
        {"attention_mask": torch.tensor([0.0, 0, 0, 0, -1e4, -1e4, -1e4]).expand(BATCH, WORDS)},
        "attention_mask has the value -10000, expected 1 for real entries and 0 for padding",
    ),
    ({"attention_mask": torch.full((BATCH, WORDS), 2)}, "attention_mask has the value 2, expected 1"),
    (
        {"visual_attention_mask": torch.full((BATCH, OBJECTS), float("nan"))},
        "visual_attention_mask has the value nan",
    ),
    (
        {"visual_feats": torch.zeros(BATCH, OBJECTS, 12)},
        "visual_feats has shape (3, 5, 12), expected (3, any, 13)",
    ),
    (
        {"visual_feats": torch.zeros(2, OBJECTS, 13)},
        "visual_feats has shape (2, 5, 13), expected (3, any, 13)",
    ),
    ({"visual_feats": torch.zeros(OBJECTS, 13)}, "visual_feats has shape (5, 13), expected (3, any, 13)"),
    ({"visual_feats": torch.zeros(BATCH, 0, 13)}, "visual_feats has no object"),
    ({"visual_pos": torch.zeros(BATCH, OBJECTS, 5)}, "visual_pos has shape (3, 5, 5), expected (3, 5, 4)"),
    ({"visual_pos": torch.zeros(BATCH, 4, 4)}, "visual_pos has shape (3, 4, 4), expected (3, 5, 4)"),
    (
        {"visual_feats": torch.full((BATCH, OBJECTS, 13), float("nan"))},
        "visual_feats has values that are not finite",
    ),
    *[
        ({"input_ids": torch.ones(BATCH, WORDS).to(dtype)}, f"input_ids must be integers, got {dtype}")
        for dtype in (torch.bool, torch.uint8, torch.int16)
    ],
    (
        {"token_type_ids": torch.zeros(BATCH, WORDS).bool()},
        "token_type_ids must be integers, got torch.bool",
    ),
    (
        {"visual_feats": torch.zeros(BATCH, OBJECTS, 13, dtype=torch.complex64)},
        "visual_feats must be real numbers, got torch.complex64",
    ),
    (
        {"input_ids": None, "inputs_embeds": torch.full((BATCH, WORDS, 24), float("nan"))},
        "inputs_embeds has values that are not finite",
    ),
    (
        {"input_ids": None, "inputs_embeds": torch.zeros(BATCH, WORDS, 24, dtype=torch.complex64)},
        "inputs_embeds must be real numbers",
    ),
    (
        {"visual_pos": torch.full((BATCH, OBJECTS, 4), float("inf"))},
        "visual_pos has values that are not finite",
    ),
]


@pytest.mark.parametrize(("change", "part"), WRONG, ids=[part[:50] for _, part in WRONG])
def test_invalid_input_raises_tensor_error_naming_it(change: dict[str, Any], part: str) -> None:
    with pytest.raises(TensorError) as raised:
        LxmertModel(small_config())(**(inputs() | change))
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_inputs_embeds_of_wrong_width_raise_tensor_error() -> None:
    batch = inputs() | {"input_ids": None, "inputs_embeds": torch.zeros(BATCH, WORDS, 23)}
    with pytest.raises(TensorError, match=r"inputs_embeds has shape \(3, 7, 23\), expected \(any, any, 24\)"):
        LxmertModel(small_config())(**batch)


@pytest.mark.parametrize(
    ("length", "part"), [(17, "17 word pieces, but the model has 16"), (0, "no word piece")]
)
def test_text_too_long_or_empty_raises_tensor_error(length: int, part: str) -> None:
    batch = inputs()
    with pytest.raises(TensorError, match=part):
        LxmertModel(small_config())(
            torch.ones(BATCH, length).long(), batch["visual_feats"], batch["visual_pos"]
        )


@pytest.mark.parametrize("model_class", [LxmertForPreTraining, LxmertForQuestionAnswering])
def test_missing_visual_feats_raise_tensor_error_in_models_with_heads(model_class: type) -> None:
    with pytest.raises(TensorError, match="visual_feats is missing"):
        model_class(small_config())(inputs()["input_ids"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.long])
def test_visual_feats_of_other_dtype_give_same_outputs(dtype: torch.dtype) -> None:
    model = LxmertModel(small_config()).eval()
    batch = inputs()
    batch["visual_feats"] = batch["visual_feats"].to(dtype)
    expected = model(**(batch | {"visual_feats": batch["visual_feats"].float()}))
    torch.testing.assert_close(model(**batch).to_tuple(), expected.to_tuple())


def test_bfloat16_model_accepts_float32_features() -> None:
    model = LxmertModel(small_config()).bfloat16().eval()
    assert model(**inputs()).pooled_output.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_inputs_embeds_of_other_dtype_are_cast_to_model_dtype(dtype: torch.dtype) -> None:
    model = LxmertModel(small_config()).bfloat16().eval()
    vectors = torch.randn(BATCH, WORDS, 24).bfloat16()
    batch = inputs() | {"input_ids": None}
    got = model(**batch, inputs_embeds=vectors.to(dtype)).pooled_output
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, model(**batch, inputs_embeds=vectors).pooled_output, rtol=0.02, atol=0.02)


def test_int32_ids_give_same_output_as_int64() -> None:
    model = LxmertModel(small_config()).eval()
    narrow = inputs() | {name: inputs()[name].int() for name in ("input_ids", "token_type_ids")}
    torch.testing.assert_close(model(**narrow).pooled_output, model(**inputs()).pooled_output)


def test_empty_batch_raises_tensor_error() -> None:
    with pytest.raises(TensorError, match="the batch is empty"):
        LxmertModel(small_config())(**{name: given[:0] for name, given in inputs().items()})


def test_ids_of_a_replaced_embedding_are_checked_against_its_rows() -> None:
    model = LxmertModel(small_config()).eval()
    model.set_input_embeddings(torch.nn.Embedding(70, 24))
    batch = inputs()
    batch["input_ids"][0, 0] = 69
    model(**batch)
    batch["input_ids"][0, 0] = 70
    with pytest.raises(TensorError, match="id 70"):
        model(**batch)

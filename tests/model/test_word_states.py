"""`word_states` of `encode_words`: the same results as from ids."""

from typing import Any

import pytest
import torch

from lxmert.errors import TensorError
from lxmert.model import LxmertForQuestionAnswering, LxmertForVisualReasoning, LxmertModel
from tests.model.small import BATCH, WORDS, inputs, small_config, with_encoded_states
from tests.model.test_visual_reasoning import pair_inputs


@pytest.mark.parametrize("layers", [0, 2])
def test_word_states_give_same_outputs_as_input_ids(layers: int) -> None:
    model = LxmertModel(small_config(l_layers=layers)).eval()
    whole, later = model(**inputs()), model(**with_encoded_states("word", model, inputs()))
    for name in ("language_output", "vision_output", "pooled_output"):
        torch.testing.assert_close(later[name], whole[name], rtol=0, atol=0)


def test_word_states_give_same_answer_scores_as_input_ids() -> None:
    torch.manual_seed(1)
    answering = LxmertForQuestionAnswering(small_config()).eval()
    torch.testing.assert_close(
        answering(**with_encoded_states("word", answering.lxmert, inputs()))[0],
        answering(**inputs())[0],
        rtol=0,
        atol=0,
    )


def test_word_states_of_image_pairs_hold_one_row_per_sentence() -> None:
    torch.manual_seed(1)
    reasoning = LxmertForVisualReasoning(small_config()).eval()
    given = with_encoded_states("word", reasoning.lxmert, pair_inputs())
    assert len(given["word_states"]) == len(pair_inputs()["input_ids"])
    torch.testing.assert_close(reasoning(**given)[0], reasoning(**pair_inputs())[0], rtol=0, atol=1e-6)


def test_encode_words_accepts_inputs_embeds() -> None:
    model = LxmertModel(small_config()).eval()
    given = inputs()
    vectors = model.get_input_embeddings()(given["input_ids"])
    mask, segments = given["attention_mask"], given["token_type_ids"]
    torch.testing.assert_close(
        model.encode_words(inputs_embeds=vectors, attention_mask=mask, token_type_ids=segments),
        model.encode_words(given["input_ids"], mask, segments),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"input_ids": inputs()["input_ids"]}, "word_states replace input_ids"),
        ({"token_type_ids": inputs()["token_type_ids"]}, "word_states replace input_ids"),
        ({"word_states": torch.zeros(BATCH, WORDS, 23)}, rf"word_states has shape \({BATCH}, {WORDS}, 23\)"),
        ({"word_states": torch.zeros(BATCH, WORDS - 1, 24)}, "attention_mask has shape"),
        ({"word_states": torch.zeros(BATCH, 0, 24)}, "word_states has shape .*: no axis may be empty"),
        (
            {"word_states": torch.zeros(BATCH - 1, WORDS, 24), "attention_mask": None},
            "visual_feats has shape",
        ),
        ({"output_hidden_states": True}, "word_states skip the language layers, so their states and maps"),
        ({"output_attentions": True}, "word_states skip the language layers, so their states and maps"),
    ],
)
def test_inconsistent_word_states_raise_tensor_error(changes: dict[str, Any], fault: str) -> None:
    model = LxmertModel(small_config()).eval()
    with pytest.raises(TensorError, match=fault):
        model(**(with_encoded_states("word", model, inputs()) | changes))


def test_encode_words_without_input_raises_tensor_error() -> None:
    model = LxmertModel(small_config()).eval()
    with pytest.raises(TensorError, match="exactly one of input_ids and inputs_embeds, got neither"):
        model.encode_words()

"""Texts encoded beforehand: the same results as from ids."""

from typing import Any

import pytest
import torch

from lxmert.errors import TensorError
from lxmert.model import LxmertForQuestionAnswering, LxmertForVisualReasoning, LxmertModel
from tests.model.small import BATCH, WORDS, encoded, inputs, small_config
from tests.model.test_visual_reasoning import pair_inputs


@pytest.mark.parametrize("layers", [0, 2])
def test_the_outputs_are_the_same(layers: int) -> None:
    model = LxmertModel(small_config(l_layers=layers)).eval()
    whole, later = model(**inputs()), model(**encoded("word", model, inputs()))
    for name in ("language_output", "vision_output", "pooled_output"):
        torch.testing.assert_close(later[name], whole[name], rtol=0, atol=0)


def test_scores_are_the_same() -> None:
    torch.manual_seed(1)
    answering = LxmertForQuestionAnswering(small_config()).eval()
    torch.testing.assert_close(
        answering(**encoded("word", answering.lxmert, inputs()))[0], answering(**inputs())[0], rtol=0, atol=0
    )


def test_a_sentence_about_two_images_is_encoded_once() -> None:
    torch.manual_seed(1)
    reasoning = LxmertForVisualReasoning(small_config()).eval()
    given = encoded("word", reasoning.lxmert, pair_inputs())
    assert len(given["word_states"]) == len(pair_inputs()["input_ids"])
    torch.testing.assert_close(reasoning(**given)[0], reasoning(**pair_inputs())[0], rtol=0, atol=1e-6)


def test_word_vectors_are_encoded_too() -> None:
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
def test_what_does_not_fit_is_refused(changes: dict[str, Any], fault: str) -> None:
    model = LxmertModel(small_config()).eval()
    with pytest.raises(TensorError, match=fault):
        model(**(encoded("word", model, inputs()) | changes))


def test_words_are_checked_before_they_are_encoded() -> None:
    model = LxmertModel(small_config()).eval()
    with pytest.raises(TensorError, match="exactly one of input_ids and inputs_embeds, got neither"):
        model.encode_words()

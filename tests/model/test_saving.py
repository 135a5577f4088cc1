"""Loading and saving: names, files, exchange with transformers, initialisation."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from lxmert.errors import ConfigurationError
from lxmert.model import (
    LxmertForPreTraining,
    LxmertForQuestionAnswering,
    LxmertForVisualReasoning,
    LxmertModel,
)
from lxmert.training.object_prediction import LxmertWithObjectPrediction
from lxmert.training.pretraining.model import LxmertInPreTraining
from tests.model.small import SIZES, inputs, small_config, targets

PEERS = [
    (LxmertModel, transformers.LxmertModel),
    (LxmertForPreTraining, transformers.LxmertForPreTraining),
    (LxmertForQuestionAnswering, transformers.LxmertForQuestionAnswering),
]
FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")


@pytest.mark.parametrize(("ours", "theirs"), PEERS)
def test_names_and_shapes_of_weights_are_those_of_transformers(ours: type, theirs: type) -> None:
    a = ours(small_config()).state_dict()
    b = theirs(transformers.LxmertConfig(**SIZES)).state_dict()
    assert {name: tensor.shape for name, tensor in a.items()} == {
        name: tensor.shape for name, tensor in b.items()
    }


@pytest.mark.parametrize(("ours", "theirs"), PEERS)
def test_weights_round_trip_through_transformers(ours: type, theirs: type, tmp_path: Path) -> None:
    model = ours(small_config()).eval()
    model.save_pretrained(tmp_path / "ours")
    peer, report = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[key] for key in FAULTS)
    expected = model(**inputs())
    torch.testing.assert_close(peer.eval()(**inputs()).to_tuple(), expected.to_tuple(), atol=1e-5, rtol=1e-5)
    peer.save_pretrained(tmp_path / "theirs")
    again, report = ours.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert not any(report[key] for key in FAULTS)
    torch.testing.assert_close(again(**inputs()).to_tuple(), expected.to_tuple())


def test_pickled_checkpoint_loads(tmp_path: Path) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    again, report = LxmertForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in FAULTS)
    torch.testing.assert_close(again(**inputs()).to_tuple(), model(**inputs()).to_tuple())


def test_pretraining_checkpoint_loads_completely_into_question_answering_model(tmp_path: Path) -> None:
    model = LxmertForPreTraining(small_config()).eval()
    model.save_pretrained(tmp_path)
    again, report = LxmertForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    torch.testing.assert_close(
        again(**inputs()).question_answering_score, model(**inputs()).question_answering_score
    )


@pytest.mark.parametrize("tied", [True, False])
def test_word_head_and_word_embedding_share_a_matrix_when_tied(tied: bool, tmp_path: Path) -> None:
    model = LxmertForPreTraining(small_config(tie_word_embeddings=tied))
    model.save_pretrained(tmp_path)
    for each in (model, LxmertForPreTraining.from_pretrained(tmp_path)):
        same = each.cls.predictions.decoder.weight is each.lxmert.embeddings.word_embeddings.weight
        assert same == tied


def test_transformers_config_is_accepted() -> None:
    model = LxmertForPreTraining(transformers.LxmertConfig(**SIZES, attn_implementation="eager"))
    assert model.config.layer_norm_eps == 1e-12
    assert model.config._attn_implementation == "eager"
    model(**inputs(), **targets()).loss.backward()


def test_another_models_configuration_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="BertConfig, expected an LxmertConfig"):
        LxmertModel(transformers.BertConfig())


def test_configuration_made_invalid_after_construction_is_rejected() -> None:
    config = small_config()
    config.num_attention_heads = 5
    with pytest.raises(ConfigurationError, match="num_attention_heads 5"):
        LxmertModel(config)


def test_initializer_range_of_zero_gives_zero_weights() -> None:
    model = LxmertForPreTraining(small_config(initializer_range=0.0))
    norms = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
    assert norms
    assert {name for name, values in model.named_parameters() if values.any()} == norms


def test_new_weights_are_normal_and_biases_zero() -> None:
    model = LxmertForPreTraining(small_config(hidden_size=96, vocab_size=500, initializer_range=0.1))
    norms = [name for name, module in model.named_modules() if isinstance(module, torch.nn.LayerNorm)]
    for name, weight in model.named_parameters():
        if name.rpartition(".")[0] in norms:
            assert weight.unique().tolist() == [float(name.endswith("weight"))], name
        elif name.endswith("bias"):
            assert weight.abs().max() == 0, name
        elif weight.numel() > 2000:
            assert weight.std().item() == pytest.approx(0.1, rel=0.1), name
            assert abs(weight.mean().item()) < 0.01, name
    words = model.get_input_embeddings().weight
    assert [row for row in range(500) if not words[row].any()] == [0]


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (LxmertForQuestionAnswering, "answer_head"),
        (LxmertForVisualReasoning, "pair_head"),
        (LxmertInPreTraining, "place_predict_head"),
        (LxmertWithObjectPrediction, "place_predict_head"),
    ],
)
def test_heads_missing_from_checkpoint_are_initialised(kind: Any, head: str, tmp_path: Path) -> None:
    config = small_config(hidden_size=192, num_qa_labels=50, initializer_range=0.1)
    LxmertModel(config).save_pretrained(tmp_path)
    options = {"predicts_places": True} if kind is LxmertInPreTraining else {}
    drawn = dict(kind.from_pretrained(tmp_path, **options).get_submodule(head).named_parameters())
    assert drawn
    for name, weight in drawn.items():
        if name.endswith("bias"):
            assert not weight.any(), name
        elif weight.ndim > 1:
            assert weight.std().item() == pytest.approx(0.1, rel=0.1), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_model_loads_in_half_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    LxmertForPreTraining(small_config()).save_pretrained(tmp_path)
    model = LxmertForPreTraining.from_pretrained(tmp_path, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    output = model(**inputs(), **targets())
    assert output.prediction_logits.dtype == dtype
    assert output.loss.dtype == torch.float32


def test_device_map_with_disk_offload_gives_same_outputs(tmp_path: Path) -> None:
    model = LxmertForQuestionAnswering(small_config()).eval()
    model.save_pretrained(tmp_path)
    again = LxmertForQuestionAnswering.from_pretrained(tmp_path, device_map={"": "cpu"})
    torch.testing.assert_close(again(**inputs()).to_tuple(), model(**inputs()).to_tuple())
    offloaded = LxmertForQuestionAnswering.from_pretrained(
        tmp_path,
        device_map={
            "lxmert.embeddings": "cpu",
            "lxmert.encoder": "disk",
            "lxmert.pooler": "cpu",
            "answer_head": "cpu",
        },
        offload_folder=tmp_path / "offload",
    )
    torch.testing.assert_close(offloaded(**inputs()).to_tuple(), model(**inputs()).to_tuple())


def test_word_head_bias_missing_from_checkpoint_is_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LxmertModel(small_config()).save_pretrained(tmp_path)
    made = torch.empty_like
    # What is not in the file lies in memory that nobody has written to.
    monkeypatch.setattr(torch, "empty_like", lambda *args, **kwargs: made(*args, **kwargs).fill_(3))
    model = LxmertForPreTraining.from_pretrained(tmp_path)
    assert not model.cls.predictions.bias.any()
    assert not model.cls.seq_relationship.bias.any()

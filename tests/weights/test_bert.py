"""`load_bert`: starting from BERT, compared with the BERT of `transformers`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, BertModel
from transformers.activations import ACT2FN

from lxmert.configuration import LxmertConfig
from lxmert.errors import WeightsError
from lxmert.model import LxmertForPreTraining
from lxmert.weights.bert import load_bert

SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(3)
    BertForPreTraining(BertConfig(**SIZES, num_hidden_layers=4)).eval().save_pretrained(folder)
    return folder


def model(l_layers: int = 3) -> LxmertForPreTraining:
    torch.manual_seed(4)
    return LxmertForPreTraining(
        LxmertConfig(**SIZES, l_layers=l_layers, x_layers=1, r_layers=1, visual_feat_dim=5, num_qa_labels=4)
    ).eval()


def text() -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 61, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def test_language_layers_equal_bert_hidden_states(bert: Path) -> None:
    ours = model()
    load_bert(ours, str(bert))
    output = ours.lxmert(
        **text(), visual_feats=torch.rand(3, 2, 5), visual_pos=torch.rand(3, 2, 4), output_hidden_states=True
    )
    theirs = BertModel.from_pretrained(bert, attn_implementation="eager").eval()
    expected = theirs(**text(), output_hidden_states=True).hidden_states
    # Theirs begin with the embeddings.
    for layer in range(3):
        torch.testing.assert_close(
            output.language_hidden_states[layer], expected[layer + 1], atol=1e-5, rtol=1e-4
        )


def test_heads_equal_bert_heads_with_match_rows_swapped(bert: Path) -> None:
    ours = model()
    load_bert(ours, str(bert))
    theirs = BertForPreTraining.from_pretrained(bert).eval()
    states, pooled = torch.randn(3, 7, 24), torch.randn(3, 24)
    words, next_sentence = theirs.cls(states, pooled)
    torch.testing.assert_close(ours.cls.predictions(states), words)
    # BERT: 0 is the right pair. LXMERT: 1 is.
    torch.testing.assert_close(ours.cls.seq_relationship(pooled), next_sentence[:, [1, 0]])
    torch.testing.assert_close(ours.lxmert.pooler(states), torch.tanh(theirs.bert.pooler.dense(states[:, 0])))
    assert ours.cls.predictions.decoder.weight is ours.lxmert.embeddings.word_embeddings.weight


def test_parameters_absent_in_bert_keep_their_weights(bert: Path) -> None:
    before, ours = model().state_dict(), model()
    report = load_bert(ours, str(bert))
    after = ours.state_dict()
    kept = {name for name in after if torch.equal(before[name], after[name])}
    # Biases and norms begin alike on both sides.
    matrices = {name for name in after if after[name].ndim == 2}
    from_bert = {name for name in matrices if name not in kept}
    assert {name for name in from_bert if "x_layers" in name or "visn" in name or "r_layers" in name} == set()
    assert all(name in from_bert for name in matrices if name.startswith("lxmert.encoder.layer."))
    assert set(report.matched) >= from_bert - {"cls.predictions.decoder.weight"}
    assert not report.unexpected


def test_gamma_beta_names_and_position_ids_of_old_bert_are_accepted(bert: Path, tmp_path: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in tensors.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(old, tmp_path / "model.safetensors")
    one, other = model(), model()
    load_bert(one, str(bert))
    load_bert(other, str(tmp_path))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_bert_without_heads_loads_encoder_and_reports_heads_missing(bert: Path, tmp_path: Path) -> None:
    BertModel.from_pretrained(bert).save_pretrained(tmp_path)
    ours = model()
    report = load_bert(ours, str(tmp_path))
    assert "cls.seq_relationship.weight" in report.missing
    assert "lxmert.encoder.layer.2.output.dense.weight" in report.matched


def test_bert_of_other_width_raises_weights_error_and_changes_nothing(bert: Path) -> None:
    config = LxmertConfig(**SIZES | {"intermediate_size": 48}, l_layers=2, x_layers=1, r_layers=1)
    ours = LxmertForPreTraining(config)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(WeightsError, match=r"another shape .*checkpoint 40×24, model 48×24"):
        load_bert(ours, str(bert))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize(
    "other", [{"num_attention_heads": 4}, {"hidden_act": "relu"}, {"layer_norm_eps": 1e-3}]
)
def test_bert_that_computes_differently_raises_weights_error(
    bert: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    BertForPreTraining(BertConfig(**SIZES | other, num_hidden_layers=4)).save_pretrained(tmp_path)
    ((name, value),) = other.items()
    ours = model()
    before = {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    with pytest.raises(WeightsError, match=f"{name} is {value!r} in this BERT, but .* in the model"):
        load_bert(ours, str(tmp_path))
    assert all(torch.equal(tensor, before[key]) for key, tensor in ours.state_dict().items())
    config = LxmertConfig(**SIZES | other, l_layers=3, x_layers=1, r_layers=1)
    load_bert(LxmertForPreTraining(config), str(tmp_path))


@pytest.mark.parametrize("content", ["[1]", "{nope", '"bert"'])
def test_unreadable_configuration_raises_weights_error(bert: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(bert, tmp_path / "bert")
    (tmp_path / "bert/config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"config\.json'.* expected a JSON object$"):
        load_bert(model(), str(tmp_path / "bert"))


def test_values_that_a_configuration_lacks_are_those_of_bert(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "bert")
    settings = json.loads((bert / "config.json").read_text())
    for key in ("hidden_act", "layer_norm_eps"):
        settings.pop(key, None)
    (tmp_path / "bert/config.json").write_text(json.dumps(settings))
    load_bert(model(), str(tmp_path / "bert"))
    for key, value in (("hidden_act", "relu"), ("layer_norm_eps", 1e-3)):
        other = LxmertConfig(**SIZES | {key: value}, l_layers=3, x_layers=1, r_layers=1)
        with pytest.raises(WeightsError, match=f"{key} is .* in this BERT, but {value!r} in the model"):
            load_bert(LxmertForPreTraining(other), str(tmp_path / "bert"))
    (tmp_path / "bert/config.json").write_text(json.dumps(settings | {"hidden_act": None}))
    with pytest.raises(WeightsError, match="hidden_act is None in this BERT"):
        load_bert(model(), str(tmp_path / "bert"))
    del settings["num_attention_heads"]
    (tmp_path / "bert/config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="num_attention_heads is 12 in this BERT, but 3 in the model"):
        load_bert(model(), str(tmp_path / "bert"))


def test_activation_under_its_other_name_is_accepted(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "bert")
    settings = json.loads((bert / "config.json").read_text())
    (tmp_path / "bert/config.json").write_text(json.dumps(settings | {"hidden_act": "gelu_python"}))
    values = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(ACT2FN["gelu_python"](values), ACT2FN["gelu"](values))
    assert load_bert(model(), str(tmp_path / "bert")).matched


def test_quantized_bert_raises_weights_error_and_changes_nothing(bert: Path, tmp_path: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    save_file(tensors | {name: (tensors[name] * 50).to(torch.int8)}, tmp_path / "model.safetensors")
    ours = model()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(
        WeightsError, match=r"output\.dense\.weight has the dtype int8, expected floating-point"
    ):
        load_bert(ours, str(tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_non_bert_checkpoint_raises_weights_error(tmp_path: Path) -> None:
    save_file({"model.layer.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="Expected a BERT"):
        load_bert(model(), str(tmp_path))
    with pytest.raises(WeightsError, match="no such folder"):
        load_bert(model(), str(tmp_path / "none"))

"""Checkpoints of transformers' LXMERT load here and ours load there, completely and bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import lxmert
from lxmert.weights import load_complete, load_report
from tests.parity.cases import CLASSES, Case, build_pair, draw_case

# Cases with all heads; one of them ties the word embeddings to the decoder, one does not.
SEEDS = [
    next(s for s in range(200) if draw_case(s).settings["tie_word_embeddings"] is tied)
    for tied in (True, False)
]


def is_complete_load(found: dict[str, Any]) -> bool:
    return not any(
        found[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
    )


def as_bin(folder: Path) -> None:
    """Rewrite a safetensors folder as the pytorch_model.bin that older versions wrote."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def same_state(one: Any, other: Any) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def is_tied(model: Any) -> bool:
    return model.cls.predictions.decoder.weight is model.lxmert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("seed", SEEDS)
def test_transformers_checkpoint_loads_into_lxmert(
    tmp_path: Path, seed: int, class_name: str, binary: bool
) -> None:
    _, peer = build_pair(draw_case(seed), class_name)
    peer.save_pretrained(tmp_path)
    if binary:
        as_bin(tmp_path)
    ours, report = load_complete(getattr(lxmert, class_name), tmp_path)
    assert not report.unexpected
    assert same_state(ours, peer)
    if class_name == "LxmertForPreTraining":
        assert is_tied(ours) is draw_case(seed).settings["tie_word_embeddings"]


@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("seed", SEEDS)
def test_lxmert_checkpoint_loads_into_transformers(
    tmp_path: Path, seed: int, class_name: str, binary: bool
) -> None:
    ours, _ = build_pair(draw_case(seed), class_name)
    ours.save_pretrained(tmp_path)
    if binary:
        as_bin(tmp_path)
    peer, found = getattr(transformers, class_name).from_pretrained(tmp_path, output_loading_info=True)
    assert is_complete_load(found)
    assert same_state(ours, peer)
    if class_name == "LxmertForPreTraining":
        assert is_tied(peer) is draw_case(seed).settings["tie_word_embeddings"]
    assert isinstance(transformers.AutoConfig.from_pretrained(tmp_path), transformers.LxmertConfig)


@pytest.mark.parametrize("class_name", CLASSES)
def test_saved_tensors_equal_those_of_transformers(tmp_path: Path, class_name: str) -> None:
    ours, peer = build_pair(draw_case(SEEDS[0]), class_name)
    ours.save_pretrained(tmp_path / "ours")
    peer.save_pretrained(tmp_path / "theirs")
    mine, theirs = (load_file(tmp_path / who / "model.safetensors") for who in ("ours", "theirs"))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("class_name", CLASSES[1:])
def test_encoder_and_head_models_load_each_other_as_in_transformers(tmp_path: Path, class_name: str) -> None:
    case = draw_case(SEEDS[0])
    ours, peer = build_pair(case, class_name)
    peer.save_pretrained(tmp_path)
    encoder, report = load_complete(lxmert.LxmertModel, tmp_path)
    assert same_state(encoder, peer.lxmert)
    assert set(report.unexpected) == {
        n for n in load_file(tmp_path / "model.safetensors") if not n.startswith("lxmert.")
    }
    encoder.save_pretrained(tmp_path / "encoder")
    report = load_report(getattr(lxmert, class_name), tmp_path / "encoder")
    heads = {name for name in ours.state_dict() if not name.startswith("lxmert.")}
    _, found = getattr(transformers, class_name).from_pretrained(
        tmp_path / "encoder", output_loading_info=True
    )
    assert set(report.missing) == set(found["missing_keys"])
    assert set(report.missing) <= heads


def published_config(case: Case) -> dict[str, Any]:
    """A config.json as the 2020 checkpoints carry it: legacy keys, and layer_norm_eps."""
    sizes = {name: value for name, value in case.settings.items() if not name.startswith("output_")}
    return {
        "architectures": ["LxmertForPreTraining"],
        "attention_probs_dropout_prob": 0.1,
        "finetuning_task": None,
        "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "is_decoder": False,
        "layer_norm_eps": 1e-12,
        "mult_qa_loss": 1,
        "model_type": "lxmert",
        "num_hidden_layers": {
            "vision": case.settings["r_layers"],
            "cross_encoder": case.settings["x_layers"],
            "language": case.settings["l_layers"],
        },
        "num_labels": 2,
        "output_past": True,
        "pruned_heads": {},
        "torchscript": False,
        "use_bfloat16": False,
        "visual_loss_config": {"obj": [8, "ce", [-1], 6.67]},
        **sizes,
    }


def test_published_folder_of_2020_loads_completely(tmp_path: Path) -> None:
    case = draw_case(SEEDS[0])
    ours, peer = build_pair(case, "LxmertForPreTraining")
    # Such folders hold one pytorch_model.bin in which the decoder repeats the word embeddings.
    torch.save(
        {name: tensor.clone() for name, tensor in peer.state_dict().items()}, tmp_path / "pytorch_model.bin"
    )
    (tmp_path / "config.json").write_text(json.dumps(published_config(case)))
    loaded, report = load_complete(lxmert.LxmertForPreTraining, tmp_path)
    assert not report.unexpected
    assert same_state(loaded, ours)
    assert is_tied(loaded)
    assert loaded.config.mult_qa_loss == 1
    loaded.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["mult_qa_loss"] == 1
    assert load_report(lxmert.LxmertForQuestionAnswering, tmp_path).is_complete is (
        "answer_head" in dir(peer)
    )


@pytest.mark.parametrize("name", ["initializer_range", "visual_loss_normalizer"])
@pytest.mark.parametrize("later", [False, True], ids=["given", "assigned"])
def test_integer_for_float_setting_loads_in_transformers(tmp_path: Path, name: str, later: bool) -> None:
    config = lxmert.LxmertConfig(**({} if later else {name: 1}))
    setattr(config, name, 1)
    config.save_pretrained(tmp_path)
    assert getattr(transformers.LxmertConfig.from_pretrained(tmp_path), name) == 1.0
    assert lxmert.LxmertConfig.from_pretrained(tmp_path) == config

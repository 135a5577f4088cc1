import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import lxmert
from lxmert.errors import IncompleteWeightsError, WeightsError
from lxmert.weights import convert_original, export_original, load_complete
from tests.weights.originals import TINY, Original, encoder, finetuned, nlvr2, pretraining

KINDS: dict[str, Callable[..., Original]] = {
    "LxmertModel": encoder,
    "LxmertForPreTraining": pretraining,
    "LxmertForQuestionAnswering": finetuned,
}


def save_original(original: Original, folder: Path, rename: Callable[[str], str] = str) -> Path:
    path = folder / "original.pth"
    torch.save({rename(name): tensor for name, tensor in original.tensors.items()}, path)
    return path


def inputs(seed: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "input_ids": torch.randint(1, 31, (3, 5), generator=generator),
        "visual_feats": torch.randn(3, 4, 10, generator=generator),
        "visual_pos": torch.rand(3, 4, 4, generator=generator),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]),
    }


def assert_same_outputs(ours: Any, theirs: Any) -> None:
    with torch.no_grad():
        mine, peer = ours(**inputs()), theirs(**inputs())
    assert len(peer) > 0
    for name, value in peer.items():
        torch.testing.assert_close(mine[name], value, atol=1e-5, rtol=1e-5)


def data_parallel(name: str) -> str:
    """The names that the original code saves under several GPUs."""
    inner = "lxrt_encoder.model."
    if name.startswith(inner):
        return f"{inner}module.{name[len(inner) :]}"
    return name if name.startswith("logit_fc") else f"module.{name}"


def tensorflow_bert_name(name: str) -> str:
    """LayerNorm names of checkpoints that began as TensorFlow BERT."""
    if "LayerNorm" in name or "layer_norm" in name:
        return name.replace(".weight", ".gamma").replace(".bias", ".beta")
    return name


@pytest.mark.parametrize("rename", [str, data_parallel, tensorflow_bert_name])
@pytest.mark.parametrize("kind", KINDS)
def test_converted_checkpoint_gives_same_outputs_as_original(
    tmp_path: Path, kind: str, rename: Callable[[str], str]
) -> None:
    original = KINDS[kind]()
    report = convert_original(save_original(original, tmp_path, rename), tmp_path / "ours", heads=3)
    assert report.is_complete
    assert not report.unexpected
    assert report.model == kind
    model, loaded = load_complete(getattr(lxmert, kind), tmp_path / "ours")
    assert not loaded.unexpected
    assert_same_outputs(model, original.peer)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_is_inferred_from_shapes(tmp_path: Path, kind: str) -> None:
    convert_original(save_original(KINDS[kind](), tmp_path), tmp_path / "ours", heads=3)
    config = lxmert.LxmertConfig.from_pretrained(tmp_path / "ours")
    inferred = {name: getattr(config, name) for name in TINY}
    absent = {
        "LxmertModel": {"num_qa_labels": 9500, "num_object_labels": 1600, "num_attr_labels": 400},
        "LxmertForQuestionAnswering": {"num_object_labels": 1600, "num_attr_labels": 400},
    }
    assert inferred == {**TINY, **absent.get(kind, {})}
    assert config.architectures == [kind]
    assert config.visual_loss_normalizer == pytest.approx(1 / 0.15)
    assert config.hidden_act == "gelu"
    assert config.layer_norm_eps == 1e-12


@pytest.mark.parametrize(
    "settings", [{"task_qa": False}, {"task_obj_predict": False}, {"visual_attr_loss": False}]
)
def test_absent_heads_switch_their_tasks_off(tmp_path: Path, settings: dict[str, Any]) -> None:
    convert_original(save_original(pretraining(**settings), tmp_path), tmp_path / "ours", heads=3)
    config = lxmert.LxmertConfig.from_pretrained(tmp_path / "ours")
    assert {name: getattr(config, name) for name in settings} == settings
    load_complete(lxmert.LxmertForPreTraining, tmp_path / "ours")


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    original = finetuned()
    halved = Original({name: t.half() for name, t in original.tensors.items()}, original.peer)
    convert_original(save_original(halved, tmp_path), tmp_path / "ours", heads=3)
    assert {t.dtype for t in load_file(tmp_path / "ours" / "model.safetensors").values()} == {torch.float16}
    assert lxmert.LxmertConfig.from_pretrained(tmp_path / "ours").dtype == torch.float16


def test_tied_decoder_is_written_once_and_untied_decoder_kept(tmp_path: Path) -> None:
    original = pretraining()
    convert_original(save_original(original, tmp_path), tmp_path / "tied", heads=3)
    assert "cls.predictions.decoder.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    original.tensors["cls.predictions.decoder.weight"] = torch.randn(31, 24)
    convert_original(save_original(original, tmp_path), tmp_path / "untied", heads=3)
    assert lxmert.LxmertConfig.from_pretrained(tmp_path / "tied").tie_word_embeddings is True
    assert lxmert.LxmertConfig.from_pretrained(tmp_path / "untied").tie_word_embeddings is False
    model, _ = load_complete(lxmert.LxmertForPreTraining, tmp_path / "untied")
    decoder = model.cls.predictions.decoder.weight
    assert torch.equal(decoder, original.tensors["cls.predictions.decoder.weight"])
    assert not torch.equal(decoder, model.lxmert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(("hidden", "heads"), [(24, 3), (128, 4)])
def test_unknown_width_without_heads_raises_weights_error(tmp_path: Path, hidden: int, heads: int) -> None:
    path = save_original(encoder(hidden_size=hidden, num_attention_heads=heads), tmp_path)
    with pytest.raises(WeightsError, match="pass --heads N"):
        convert_original(path, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    convert_original(path, tmp_path / "ours", heads=heads)
    assert lxmert.LxmertConfig.from_pretrained(tmp_path / "ours").num_attention_heads == heads


def test_width_768_defaults_to_12_heads(tmp_path: Path) -> None:
    small = {"l_layers": 1, "r_layers": 1, "x_layers": 1}
    path = save_original(encoder(hidden_size=768, num_attention_heads=12, **small), tmp_path)
    convert_original(path, tmp_path / "ours")
    assert lxmert.LxmertConfig.from_pretrained(tmp_path / "ours").num_attention_heads == 12


def test_nlvr2_checkpoint_round_trips_through_visual_reasoning_model(tmp_path: Path) -> None:
    original = nlvr2()
    path = save_original(original, tmp_path)
    report = convert_original(path, tmp_path / "ours", heads=3)
    assert report.is_complete
    assert not report.unexpected
    model, _ = load_complete(lxmert.LxmertForVisualReasoning, tmp_path / "ours")
    assert model.config.architectures == ["LxmertForVisualReasoning"]
    assert_same_outputs(model.lxmert, original.peer.lxmert)
    for place, part in ((0, "weight"), (0, "bias"), (2, "weight"), (2, "bias"), (3, "weight"), (3, "bias")):
        expected = original.tensors[f"logit_fc.{place}.{part}"]
        assert torch.equal(getattr(model.pair_head.logit_fc[place], part), expected)
    export_original(tmp_path / "ours", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == original.tensors.keys()
    for name, tensor in original.tensors.items():
        assert torch.equal(back[name], tensor), name


def test_encoder_only_converts_nlvr2_without_head(tmp_path: Path) -> None:
    original = nlvr2()
    path = save_original(original, tmp_path)
    report = convert_original(path, tmp_path / "ours", heads=3, encoder_only=True)
    assert {name: shape for name, shape in report.unexpected.items() if name.endswith("weight")} == {
        "logit_fc.0.weight": (48, 48),
        "logit_fc.2.weight": (48,),
        "logit_fc.3.weight": (2, 48),
    }
    model, _ = load_complete(lxmert.LxmertModel, tmp_path / "ours")
    assert_same_outputs(model, original.peer.lxmert)


def test_finetuned_checkpoint_without_head_converts_to_lxmert_model(tmp_path: Path) -> None:
    original = finetuned()
    tensors = {name: tensor for name, tensor in original.tensors.items() if "logit_fc" not in name}
    path = save_original(Original(tensors, original.peer), tmp_path)
    assert not convert_original(path, tmp_path / "ours", heads=3).unexpected
    model, _ = load_complete(lxmert.LxmertModel, tmp_path / "ours")
    assert_same_outputs(model, original.peer.lxmert)


def test_missing_and_misshapen_tensors_are_rejected_before_anything_is_written(tmp_path: Path) -> None:
    original = finetuned()
    del original.tensors["lxrt_encoder.model.bert.encoder.layer.0.output.dense.bias"]
    with pytest.raises(
        IncompleteWeightsError, match=r"1 missing \(lxmert\.encoder\.layer\.0\.output\.dense\.bias\)"
    ):
        convert_original(save_original(original, tmp_path), tmp_path / "ours", heads=3)
    original = finetuned()
    original.tensors["logit_fc.2.bias"] = torch.zeros(9)
    with pytest.raises(IncompleteWeightsError, match="checkpoint 9, model 48"):
        convert_original(save_original(original, tmp_path), tmp_path / "ours", heads=3)
    original = encoder()
    del original.tensors["bert.embeddings.word_embeddings.weight"]
    with pytest.raises(IncompleteWeightsError, match=r"bert\.embeddings\.word_embeddings\.weight"):
        convert_original(save_original(original, tmp_path), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_foreign_and_duplicate_names_raise_weights_error(tmp_path: Path) -> None:
    foreign = Original({"resnet.conv1.weight": torch.ones(3)}, None)
    with pytest.raises(WeightsError, match=r"not an original LXMERT checkpoint.*resnet\.conv1\.weight"):
        convert_original(save_original(foreign, tmp_path), tmp_path / "ours")
    double = finetuned()
    double.tensors["module.logit_fc.3.bias"] = double.tensors["logit_fc.3.bias"]
    with pytest.raises(WeightsError, match="two names"):
        convert_original(save_original(double, tmp_path), tmp_path / "ours", heads=3)


def test_unused_tensors_are_reported(tmp_path: Path) -> None:
    original = finetuned()
    original.tensors["ema.step"] = torch.zeros(2)
    report = convert_original(save_original(original, tmp_path), tmp_path / "ours", heads=3)
    assert dict(report.unexpected) == {"ema.step": (2,)}


def test_answers_are_written_in_class_order_and_counted(tmp_path: Path) -> None:
    path = save_original(finetuned(), tmp_path)
    answers = ["", "yes", "no", "2", "grün", "left", "right"]
    with pytest.raises(WeightsError, match=r"6 answers, but .* scores 7"):
        convert_original(path, tmp_path / "ours", heads=3, answers=answers[1:])
    assert not (tmp_path / "ours").exists()
    convert_original(path, tmp_path / "ours", heads=3, answers=answers)
    assert json.loads((tmp_path / "ours" / "answers.json").read_text("utf-8")) == answers


def test_answers_or_vocab_size_of_other_model_raise_weights_error(tmp_path: Path) -> None:
    path = save_original(pretraining(task_qa=False), tmp_path)
    with pytest.raises(WeightsError, match="no answer head"):
        convert_original(path, tmp_path / "ours", heads=3, answers=["yes"])
    with pytest.raises(WeightsError, match="no answer head"):
        convert_original(
            save_original(finetuned(), tmp_path),
            tmp_path / "ours",
            heads=3,
            encoder_only=True,
            answers=["a"] * 7,
        )
    with pytest.raises(WeightsError, match="30 word pieces, but the checkpoint embeds 31"):
        convert_original(path, tmp_path / "ours", heads=3, vocab_size=30)
    assert not (tmp_path / "ours").exists()
    convert_original(path, tmp_path / "ours", heads=3, vocab_size=31)


def test_existing_files_are_overwritten_only_on_request(tmp_path: Path) -> None:
    path = save_original(finetuned(), tmp_path)
    convert_original(path, tmp_path / "ours", heads=3)
    with pytest.raises(WeightsError, match="already exists"):
        convert_original(path, tmp_path / "ours", heads=3)
    convert_original(path, tmp_path / "ours", heads=3, overwrite=True)
    with pytest.raises(WeightsError, match="already exists"):
        export_original(tmp_path / "ours", path)
    export_original(tmp_path / "ours", path, overwrite=True)


def test_answers_of_overwritten_model_are_removed(tmp_path: Path) -> None:
    path, folder = save_original(finetuned(), tmp_path), tmp_path / "ours"
    answers = list("abcdefg")
    convert_original(path, folder, heads=3, answers=answers)
    (folder / "notes.txt").write_text("mine")
    convert_original(path, folder, heads=3, overwrite=True)
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "notes.txt"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_answers_in_folder_without_a_model_are_kept(tmp_path: Path, overwrite: bool) -> None:
    path, answers = save_original(finetuned(), tmp_path), tmp_path / "new/answers.json"
    answers.parent.mkdir()
    answers.write_text("mine")
    convert_original(path, answers.parent, heads=3, overwrite=overwrite)
    assert answers.read_text() == "mine"


def test_full_disk_raises_one_line_weights_error(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path, folder = save_original(finetuned(), tmp_path), tmp_path / "ours"
    convert_original(path, folder, heads=3, answers=list("abcdefg"))
    before, limits = (folder / "config.json").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(WeightsError, match=r"model\.safetensors' could not be written .*free some disk"):
            convert_original(path, folder, heads=3, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / "answers.json").exists()
    assert (folder / "config.json").read_bytes() == before


def test_sharded_model_is_not_overwritten_by_default(tmp_path: Path) -> None:
    path, folder = save_original(finetuned(), tmp_path), tmp_path / "sharded"
    convert_original(path, folder, heads=3)
    model, _ = load_complete(lxmert.LxmertForQuestionAnswering, folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "model.safetensors" not in before
    with pytest.raises(WeightsError, match=r"config\.json' already exists"):
        convert_original(path, folder, heads=1)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("binary", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("kind", KINDS)
def test_export_of_converted_folder_restores_original_tensors(
    tmp_path: Path, kind: str, binary: bool
) -> None:
    original = KINDS[kind]()
    convert_original(save_original(original, tmp_path), tmp_path / "ours", heads=3)
    if binary:
        file = tmp_path / "ours" / "model.safetensors"
        torch.save(load_file(file), tmp_path / "ours" / "pytorch_model.bin")
        file.unlink()
    report = export_original(tmp_path / "ours", tmp_path / "deep" / "back.pth", data_parallel=False)
    assert report.is_complete
    back = torch.load(tmp_path / "deep" / "back.pth", weights_only=True)
    assert back.keys() == original.tensors.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in original.tensors.items())


@pytest.mark.parametrize("kind", KINDS)
def test_default_export_uses_names_expected_by_original_loaders(tmp_path: Path, kind: str) -> None:
    getattr(lxmert, kind)(lxmert.LxmertConfig(**TINY)).save_pretrained(tmp_path / "ours")
    export_original(tmp_path / "ours", tmp_path / "back.pth")
    names = list(torch.load(tmp_path / "back.pth", weights_only=True))
    if kind == "LxmertForQuestionAnswering":
        assert all(name.startswith(("lxrt_encoder.model.bert.", "logit_fc.")) for name in names)
    else:
        assert all(name.startswith("module.") for name in names)
    assert set(map(data_parallel, KINDS[kind]().tensors)) == set(
        names if kind != "LxmertForQuestionAnswering" else map(data_parallel, names)
    )


def test_quantized_weights_are_rejected_in_both_directions(tmp_path: Path) -> None:
    source = save_original(pretraining(), tmp_path)
    convert_original(source, tmp_path / "folder", heads=3)
    tensors = torch.load(source)
    name = next(name for name in tensors if name.endswith("pooler.dense.weight"))
    torch.save(tensors | {name: tensors[name].to(torch.int8)}, source)
    with pytest.raises(WeightsError, match=r"lxmert\.pooler\.dense\.weight has the dtype int8"):
        convert_original(source, tmp_path / "other", heads=3)
    assert not (tmp_path / "other").exists()
    settings = json.loads((tmp_path / "folder/config.json").read_text())
    settings["quantization_config"] = {"quant_method": "fp8"}
    (tmp_path / "folder/config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=r"the weights are quantized \(quantization_config\)"):
        export_original(tmp_path / "folder", tmp_path / "back.pth")
    del settings["quantization_config"]
    (tmp_path / "folder/config.json").write_text(json.dumps(settings))
    weights = load_file(tmp_path / "folder/model.safetensors")
    inner = "lxmert.pooler.dense.weight"
    save_file(weights | {inner: weights[inner].to(torch.int8)}, tmp_path / "folder/model.safetensors")
    with pytest.raises(WeightsError, match=r"lxmert\.pooler\.dense\.weight has the dtype int8"):
        export_original(tmp_path / "folder", tmp_path / "back.pth")
    assert not (tmp_path / "back.pth").exists()


def test_exporting_an_incomplete_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights"):
        export_original(tmp_path, tmp_path / "x.pth")
    lxmert.LxmertForQuestionAnswering(lxmert.LxmertConfig(**TINY)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "l_layers": 3}))
    with pytest.raises(IncompleteWeightsError, match="16 missing"):
        export_original(tmp_path, tmp_path / "x.pth")
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json"):
        export_original(tmp_path, tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()

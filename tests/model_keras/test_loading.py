"""Model folders of the PyTorch and the Keras models, read and written by the Keras models."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig
from transformers.models.lxmert.configuration_lxmert import LxmertConfig as TheirConfig

keras = pytest.importorskip("keras")

import lxmert  # noqa: E402
from lxmert.errors import ConfigurationError, IncompleteWeightsError, WeightsError  # noqa: E402
from lxmert.weights import load_complete, load_report  # noqa: E402
from tests.model.small import small_config  # noqa: E402
from tests.model_keras.model_classes import (  # noqa: E402
    CLASSES,
    batch,
    keras_class,
    scores,
    torch_class,
    with_random_weights,
)


@pytest.fixture
def warnings_seen(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("lxmert")
    ]


@pytest.mark.parametrize(("kind", "tied"), [*((kind, True) for kind in CLASSES), ("ForPreTraining", False)])
def test_pytorch_folder_round_trips_through_keras_model(
    kind: str, tied: bool, tmp_path: Path, warnings_seen: Callable[[], list[str]]
) -> None:
    original = with_random_weights(kind, tie_word_embeddings=tied)
    original.save_pretrained(tmp_path / "torch")
    model, info = keras_class(kind).from_pretrained(tmp_path / "torch", output_loading_info=True)
    assert info == {
        "missing_keys": set(),
        "unexpected_keys": set(),
        "mismatched_keys": set(),
        "error_msgs": [],
    }
    assert warnings_seen() == []

    with torch.no_grad():
        expected = original(**{name: torch.as_tensor(array) for name, array in batch(kind).items()})
    np.testing.assert_allclose(
        scores(model(batch(kind))), next(reversed(expected.values())).numpy(), atol=1e-5, rtol=1e-5
    )

    model.save_pretrained(tmp_path / "keras")
    assert {path.name for path in (tmp_path / "keras").iterdir()} == {"config.json", "model.safetensors"}
    again, info = torch_class(kind).from_pretrained(tmp_path / "keras", output_loading_info=True)
    assert not any(info.values())
    assert {n: t.tolist() for n, t in again.state_dict().items()} == {
        n: t.tolist() for n, t in original.state_dict().items()
    }
    assert again.config.architectures == [f"Lxmert{kind}"]
    written, first = (
        load_file(tmp_path / "keras/model.safetensors"),
        load_file(tmp_path / "torch/model.safetensors"),
    )
    assert written.keys() == first.keys()


def test_pytorch_bin_is_read(tmp_path: Path) -> None:
    original = with_random_weights("ForPreTraining")
    original.config.save_pretrained(tmp_path)
    assert "cls.predictions.decoder.weight" in original.state_dict()  # a second name of the word embedding
    torch.save(original.state_dict(), tmp_path / "pytorch_model.bin")
    load = lxmert.TFLxmertForPreTraining.from_pretrained
    model, info = load(tmp_path, from_pt=True, output_loading_info=True)
    assert not any(info.values())
    words = model.torch_variables()["lxmert.embeddings.word_embeddings.weight"].variable
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(words), original.lxmert.embeddings.word_embeddings.weight.detach().numpy()
    )


def test_weights_in_bfloat16_are_read_and_written(tmp_path: Path) -> None:
    original = with_random_weights("Model").to(torch.bfloat16)
    original.save_pretrained(tmp_path / "torch")
    model = lxmert.TFLxmertModel.from_pretrained(tmp_path / "torch", dtype="bfloat16")
    assert {variable.dtype for variable in model.variables if "seed" not in variable.path} == {"bfloat16"}
    model.save_pretrained(tmp_path / "keras")
    written, first = (load_file(tmp_path / half / "model.safetensors") for half in ("keras", "torch"))
    assert all(torch.equal(written[name], first[name]) for name in first)
    assert all(written[name].dtype == torch.bfloat16 for name in first)
    wide = lxmert.TFLxmertModel.from_pretrained(tmp_path / "torch")
    assert {variable.dtype for variable in wide.trainable_variables} == {"float32"}


def test_weights_in_float8_are_read(tmp_path: Path) -> None:
    original = with_random_weights("Model").to(torch.float8_e4m3fn)
    original.config.save_pretrained(tmp_path)
    tensors = dict(original.state_dict())
    save_file(tensors, tmp_path / "model.safetensors")
    model = lxmert.TFLxmertModel.from_pretrained(tmp_path)
    found = keras.ops.convert_to_numpy(model.torch_variables()["pooler.dense.bias"].variable)
    np.testing.assert_array_equal(found, tensors["pooler.dense.bias"].float().numpy())


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_other_than_floats_raise_weights_error(dtype: torch.dtype, tmp_path: Path) -> None:
    original = with_random_weights("Model")
    original.config.save_pretrained(tmp_path)
    tensors = original.state_dict()
    stray = {"embeddings.position_ids": torch.arange(3)}
    save_file(tensors | stray, tmp_path / "model.safetensors")
    lxmert.TFLxmertModel.from_pretrained(tmp_path)
    name = "pooler.dense.weight"
    save_file(tensors | {name: tensors[name].to(dtype)}, tmp_path / "model.safetensors")
    message = rf"pooler\.dense\.weight has the dtype {str(dtype)[6:]}, expected floating-point numbers"
    with pytest.raises(WeightsError, match=message):
        lxmert.TFLxmertModel.from_pretrained(tmp_path)


def test_quantized_checkpoint_raises_weights_error(tmp_path: Path) -> None:
    with_random_weights("Model").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    for load in (
        lxmert.TFLxmertModel.from_pretrained,
        lambda folder: load_complete(lxmert.TFLxmertModel, folder),
    ):
        with pytest.raises(WeightsError, match="the weights are quantized"):
            load(tmp_path)


@pytest.mark.parametrize("kind", ["Model", "ForQuestionAnswering"])
def test_layer_norm_names_of_the_first_tensorflow_bert_are_read(kind: str, tmp_path: Path) -> None:
    original = with_random_weights(kind)
    original.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    assert len(old.keys() - tensors.keys()) > 10
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, report = load_complete(keras_class(kind), tmp_path)
    assert not report.unexpected
    for name, (variable, transposed) in model.torch_variables().items():
        values = keras.ops.convert_to_numpy(variable)
        np.testing.assert_array_equal(values.T if transposed else values, tensors[name].numpy(), err_msg=name)


@pytest.mark.parametrize("kind", ["Model", "ForQuestionAnswering"])
def test_base_and_head_models_load_each_others_folders(
    kind: str, tmp_path: Path, warnings_seen: Callable[[], list[str]]
) -> None:
    other = "ForPreTraining" if kind == "Model" else "Model"
    original = with_random_weights(other)
    original.save_pretrained(tmp_path)
    model, info = keras_class(kind).from_pretrained(tmp_path, output_loading_info=True)
    missing, unexpected = info["missing_keys"], info["unexpected_keys"]
    if kind == "Model":
        assert not missing
        assert {name.split(".")[0] for name in unexpected} == {"cls", "obj_predict_head", "answer_head"}
    else:
        assert {name.split(".")[0] for name in missing} == {"answer_head"}
        assert not unexpected
    inner = original if other == "Model" else original.lxmert
    found = {name: tensor.detach().numpy() for name, tensor in inner.state_dict().items()}
    prefix = "" if kind == "Model" else "lxmert."
    for name, (variable, transposed) in model.torch_variables().items():
        if name.startswith("answer_head"):
            continue
        values = keras.ops.convert_to_numpy(variable)
        np.testing.assert_array_equal(values.T if transposed else values, found[name.removeprefix(prefix)])
    [warning] = warnings_seen()
    assert ("random" in warning) == bool(missing)
    assert "\n" not in warning


def test_load_report_of_gaps_equals_pytorch_and_load_complete_raises(tmp_path: Path) -> None:
    with_random_weights("ForQuestionAnswering").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["lxmert.pooler.dense.weight"]
    tensors["stray"] = torch.ones(3)
    tensors["answer_head.logit_fc.3.bias"] = torch.ones(4)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    ours = load_report(lxmert.TFLxmertForQuestionAnswering, tmp_path)
    theirs = load_report(lxmert.LxmertForQuestionAnswering, tmp_path)
    for part in ("missing", "unexpected", "reshaped", "matched"):
        assert dict(getattr(ours, part)) == dict(getattr(theirs, part)), part
    with pytest.raises(IncompleteWeightsError, match="1 missing"):
        load_complete(lxmert.TFLxmertForQuestionAnswering, tmp_path)


def test_mismatched_shape_raises_weights_error_unless_ignored(tmp_path: Path) -> None:
    with_random_weights("ForQuestionAnswering").save_pretrained(tmp_path)
    load = lxmert.TFLxmertForQuestionAnswering.from_pretrained
    with pytest.raises(WeightsError, match=r"checkpoint 9.*model 4.*ignore_mismatched_sizes") as caught:
        load(tmp_path, num_qa_labels=4)
    assert "\n" not in str(caught.value)
    model, info = load(tmp_path, num_qa_labels=4, ignore_mismatched_sizes=True, output_loading_info=True)
    assert model.config.num_qa_labels == 4
    assert info["mismatched_keys"] == {
        ("answer_head.logit_fc.3.bias", (9,), (4,)),
        ("answer_head.logit_fc.3.weight", (9, 48), (4, 48)),
    }


def test_configuration_can_be_given_or_overridden(tmp_path: Path) -> None:
    with_random_weights("Model").save_pretrained(tmp_path / "a")
    config = small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.4)
    config.save_pretrained(tmp_path / "b")
    load = lxmert.TFLxmertModel.from_pretrained
    assert load(tmp_path / "a", config=config).config.hidden_dropout_prob == 0.4
    assert load(tmp_path / "a", config=tmp_path / "b").config.hidden_dropout_prob == 0.4
    changed = load(tmp_path / "a", output_attentions=True, hidden_dropout_prob=0.2, name="mine")
    assert changed.config.output_attentions is True
    assert changed.config.hidden_dropout_prob == 0.2
    assert changed.name == "mine"
    with pytest.raises(TypeError, match="unknown argument 'hiden_size'"):
        load(tmp_path / "a", hiden_size=3)


def test_transformers_config_is_accepted_and_bert_config_is_rejected(tmp_path: Path) -> None:
    with_random_weights("Model").save_pretrained(tmp_path)
    theirs = TheirConfig.from_pretrained(tmp_path, hidden_dropout_prob=0.4)
    model = lxmert.TFLxmertModel.from_pretrained(tmp_path, config=theirs)
    assert type(model.config) is lxmert.LxmertConfig
    assert model.config.hidden_dropout_prob == 0.4
    with pytest.raises(ConfigurationError, match="is a BertConfig, expected an LxmertConfig"):
        lxmert.TFLxmertModel.from_pretrained(tmp_path, config=BertConfig())


@pytest.mark.parametrize("argument", ["dtype", "torch_dtype"])
def test_dtype_and_torch_dtype_set_precision(argument: str, tmp_path: Path) -> None:
    with_random_weights("Model").to(torch.bfloat16).save_pretrained(tmp_path)
    load = lxmert.TFLxmertModel.from_pretrained
    assert load(tmp_path, **{argument: "float16"}).dtype_policy.name == "float16"
    assert load(tmp_path, **{argument: "auto"}).dtype_policy.name == "bfloat16"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_auto_without_config_dtype_follows_weights(dtype: str, tmp_path: Path) -> None:
    with_random_weights("Model").to(getattr(torch, dtype)).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["dtype"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert lxmert.TFLxmertModel.from_pretrained(tmp_path, dtype="auto").dtype_policy.name == dtype


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere/at/all", "neither a model folder nor a hub name"),
        ("empty/a.safetensors", "is a file, expected a model folder or a hub name"),
        ("empty", "no configuration"),
        ("configured", "no weights"),
        ("foreign", "model_type is 'bert'"),
        ("broken", "truncated or corrupt"),
    ],
)
def test_invalid_folder_raises_one_line_weights_error(place: str, message: str, tmp_path: Path) -> None:
    for name in ("empty", "configured", "foreign", "broken"):
        (tmp_path / name).mkdir()
        if name != "empty":
            small_config().save_pretrained(tmp_path / name)
    (tmp_path / "foreign/config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "broken/model.safetensors").write_bytes(b"x" * 40)
    (tmp_path / "empty/a.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=re.escape(message)) as caught:
        lxmert.TFLxmertModel.from_pretrained(tmp_path / place)
    assert "\n" not in str(caught.value)


def test_save_pretrained_onto_file_raises_weights_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(WeightsError, match="is a file"):
        lxmert.TFLxmertModel(small_config(l_layers=1, x_layers=1)).save_pretrained(tmp_path / "x")


def test_save_pretrained_of_invalid_configuration_leaves_saved_model_alone(tmp_path: Path) -> None:
    model = lxmert.TFLxmertModel(small_config(l_layers=1, x_layers=1))
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model.set_weights([weight + 1 for weight in model.get_weights()])
    model.config.hidden_dropout_prob = 5
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(ConfigurationError, match="hidden_dropout_prob"):
            model.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_save_pretrained_accepts_transformers_options_without_effect(tmp_path: Path) -> None:
    model = lxmert.TFLxmertModel(small_config(l_layers=1, x_layers=1))
    model.save_pretrained(
        tmp_path,
        safe_serialization=True,
        max_shard_size="5GB",
        push_to_hub=False,
        saved_model=False,
        token=None,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"safe_serialization": False}, "only safetensors are written"),
        ({"push_to_hub": True}, "upload_folder"),
        ({"saved_model": True}, r"export\(\)"),
        ({"variant": "fp16"}, "a folder of its own"),
    ],
)
def test_save_pretrained_unsupported_option_raises_configuration_error(
    option: dict[str, object], message: str, tmp_path: Path
) -> None:
    model = lxmert.TFLxmertModel(small_config(l_layers=1, x_layers=1))
    with pytest.raises(ConfigurationError, match=message):
        model.save_pretrained(tmp_path / "folder", **option)
    with pytest.raises(TypeError, match="unknown argument 'safe'"):
        model.save_pretrained(tmp_path / "folder", safe=True)
    assert not (tmp_path / "folder").exists()

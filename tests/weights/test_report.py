import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from lxmert import LxmertConfig
from lxmert.errors import ConfigurationError, IncompleteWeightsError, WeightsError
from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from lxmert.weights import LoadReport, load_complete, load_report
from tests.weights.originals import TINY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete question-answering folder."""
    LxmertForQuestionAnswering(LxmertConfig(**TINY)).save_pretrained(tmp_path)
    return tmp_path


def edit_weights(folder: Path, edit: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_complete_folder_loads_with_complete_report(folder: Path) -> None:
    model, report = load_complete(LxmertForQuestionAnswering, folder)
    assert report.is_complete
    assert not report.missing
    assert not report.unexpected
    assert report.matched == {name: tuple(t.shape) for name, t in model.state_dict().items()}
    count = len(model.state_dict())
    assert report.summary() == f"LxmertForQuestionAnswering from {folder}: {count} of {count} tensors matched"
    assert not model.training


def test_missing_tensors_are_counted_named_and_rejected(folder: Path) -> None:
    edit_weights(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith("answer_head")])
    report = load_report(LxmertForQuestionAnswering, folder)
    assert not report.is_complete
    assert report.missing["answer_head.logit_fc.3.weight"] == (7, 48)
    assert len(report.missing) == 6
    assert set(report.matched) == set(load_file(folder / "model.safetensors"))
    with pytest.raises(IncompleteWeightsError) as caught:
        load_complete(LxmertForQuestionAnswering, folder)
    message = str(caught.value)
    assert "6 missing (answer_head.logit_fc.0.weight" in message
    assert "and 3 more" in message
    assert "partly random" in message
    assert "\n" not in message


def test_reshaped_tensors_are_rejected_with_both_shapes(folder: Path) -> None:
    with pytest.raises(IncompleteWeightsError, match="checkpoint 7, model 9"):
        load_complete(LxmertForQuestionAnswering, folder, num_qa_labels=9)
    report = load_report(LxmertForQuestionAnswering, folder, num_qa_labels=9)
    assert dict(report.reshaped) == {
        "answer_head.logit_fc.3.bias": ((7,), (9,)),
        "answer_head.logit_fc.3.weight": ((7, 48), (9, 48)),
    }
    assert not report.missing
    assert set(report.matched) == set(load_file(folder / "model.safetensors")) - set(report.reshaped)


def test_unused_tensors_are_reported_with_their_shapes_and_allowed(folder: Path) -> None:
    edit_weights(folder, lambda t: t.update({"extra.weight": torch.ones(3, 2)}))
    _, report = load_complete(LxmertForQuestionAnswering, folder)
    assert dict(report.unexpected) == {"extra.weight": (3, 2)}
    assert report.is_complete
    assert "1 unused (extra.weight)" in report.summary()


def test_pretraining_folder_loads_into_question_answering_model(tmp_path: Path) -> None:
    LxmertForPreTraining(LxmertConfig(**TINY)).save_pretrained(tmp_path)
    _, report = load_complete(LxmertForQuestionAnswering, tmp_path)
    assert all(name.startswith(("cls.", "obj_predict_head.")) for name in report.unexpected)
    assert None not in report.unexpected.values()
    assert load_report(LxmertForPreTraining, tmp_path).is_complete
    assert "cls.predictions.decoder.weight" in load_report(LxmertForPreTraining, tmp_path).matched


def test_encoder_folder_reports_answer_head_missing(tmp_path: Path) -> None:
    LxmertModel(LxmertConfig(**TINY)).save_pretrained(tmp_path)
    assert load_report(LxmertModel, tmp_path).is_complete
    report = load_report(LxmertForQuestionAnswering, tmp_path)
    assert set(report.missing) == {
        f"answer_head.logit_fc.{i}.{p}" for i in (0, 2, 3) for p in ("weight", "bias")
    }


def test_pytorch_bin_folders_load(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert load_report(LxmertForQuestionAnswering, folder).is_complete


def test_unreadable_folders_raise_weights_error(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="cannot load LxmertForQuestionAnswering"):
        load_complete(LxmertForQuestionAnswering, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_complete(LxmertForQuestionAnswering, folder)
    (folder / "pytorch_model.bin").write_bytes(b"PK rubbish")
    with pytest.raises(WeightsError) as caught:
        load_complete(LxmertForQuestionAnswering, folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="nowhere"):
        load_complete(LxmertForQuestionAnswering, tmp_path / "nowhere", local_files_only=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "contains a list"),
        ("{}", "model_type is None"),
        ('{"model_type": "bert"}', "model_type is 'bert'"),
        ('{"model_type": ', "expected a JSON object"),
        ("[" * 100_000, "expected a JSON object"),
    ],
)
def test_invalid_config_json_raises_weights_error(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=message) as caught:
        load_complete(LxmertForQuestionAnswering, folder)
    assert "\n" not in str(caught.value)


def test_pickle_with_code_is_rejected_without_advice_to_run_it(folder: Path, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (folder / "model.safetensors").unlink()
    torch.save({"x": Malicious()}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="refused because reading them can run code") as caught:
        load_complete(LxmertForQuestionAnswering, folder)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_invalid_override_raises_configuration_error(folder: Path) -> None:
    with pytest.raises(ConfigurationError):
        load_complete(LxmertForQuestionAnswering, folder, num_attention_heads=5)


def test_table_lists_everything_that_did_not_match() -> None:
    report = LoadReport.compare(
        {"kept": (2,), "gone": (3, 4), "bent": (5,)},
        {"kept": (2,), "bent": (6,), "spare": ()},
        model="LxmertModel",
        source="x.pth",
    )
    assert list(report.rows()) == [
        ("missing", "gone", "", "3×4"),
        ("reshaped", "bent", "6", "5"),
        ("unexpected", "spare", "scalar", ""),
    ]
    assert report.matched == {"kept": (2,)}
    assert "1 of 3 tensors matched; 1 missing (gone); 1 with another shape" in report.summary()
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.table())
    text = console.export_text()
    assert all(word in text for word in ("gone", "3×4", "bent", "spare"))


def test_table_escapes_markup_and_control_characters_in_tensor_names(folder: Path) -> None:
    edit_weights(folder, lambda t: t.update({"[/red]\x1b[2J": torch.zeros(2)}))
    _, report = load_complete(LxmertForQuestionAnswering, folder)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(report.table())
    assert r"[/red]\x1b[2J" in shown.get()


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_other_than_floats_are_rejected(folder: Path, dtype: torch.dtype) -> None:
    name = "lxmert.pooler.dense.weight"
    edit_weights(folder, lambda tensors: tensors.update({name: (tensors[name] * 50).to(dtype)}))
    for model_class in (LxmertForQuestionAnswering, LxmertModel):
        with pytest.raises(
            WeightsError,
            match=rf"lxmert\.pooler\.dense\.weight has the dtype {str(dtype)[6:]},.*not quantized$",
        ):
            load_complete(model_class, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lxmert\.pooler\.dense\.weight has the dtype (int8|complex64)"):
        load_complete(LxmertForQuestionAnswering, folder)


@pytest.mark.parametrize(("new", "old"), [("weight", "gamma"), ("bias", "beta")])
def test_integers_under_old_names_of_layer_norm_are_rejected(folder: Path, new: str, old: str) -> None:
    name = f"lxmert.embeddings.LayerNorm.{new}"
    before = name.replace(new, old)
    edit_weights(folder, lambda tensors: tensors.update({before: tensors.pop(name)}))
    assert load_complete(LxmertForQuestionAnswering, folder)[1].is_complete
    edit_weights(folder, lambda tensors: tensors.update({before: tensors[before].to(torch.int8)}))
    for model_class in (LxmertForQuestionAnswering, LxmertModel):
        with pytest.raises(WeightsError, match=rf"lxmert\.embeddings\.LayerNorm\.{old} has the dtype int8"):
            load_complete(model_class, folder)


def test_only_the_file_that_is_read_is_checked(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    name = "lxmert.pooler.dense.weight"
    edit_weights(folder, lambda tensors: tensors.update({name: (tensors[name] * 50).to(torch.int8)}))
    _, report = load_complete(LxmertModel, folder, use_safetensors=False)
    assert report.unexpected["answer_head.logit_fc.3.bias"] == (7,)
    with pytest.raises(WeightsError, match="has the dtype int8"):
        load_complete(LxmertModel, folder)


@pytest.mark.parametrize("subfolder", ["", "inner"])
def test_integers_of_a_hub_name_are_rejected(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subfolder: str
) -> None:
    commit = "a" * 40
    cached = tmp_path / "cache" / "models--someone--model"
    snapshot = cached / "snapshots" / commit / subfolder
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    shutil.copytree(folder, snapshot, ignore=shutil.ignore_patterns("cache"))
    options = {"cache_dir": str(tmp_path / "cache"), "local_files_only": True, "subfolder": subfolder}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    report = load_complete(LxmertModel, "someone/model", **options)[1]
    assert report.unexpected["answer_head.logit_fc.3.bias"] == (7,)
    name = "lxmert.pooler.dense.weight"
    edit_weights(snapshot, lambda tensors: tensors.update({name: (tensors[name] * 50).to(torch.int8)}))
    config = LxmertConfig(**TINY)  # of no repository
    elsewhere = LxmertConfig(**TINY)
    elsewhere._commit_hash = "b" * 40
    for more in ({}, {"config": config}, {"config": elsewhere}, {"revision": commit}):
        with pytest.raises(WeightsError, match=r"^someone/model: lxmert\.pooler.* has the dtype int8"):
            load_complete(LxmertModel, "someone/model", **options, **more)


def test_integers_that_are_not_weights_of_the_model_are_allowed(folder: Path) -> None:
    name = "lxmert.embeddings.position_ids"
    edit_weights(folder, lambda tensors: tensors.update({name: torch.arange(9)[None]}))
    assert load_complete(LxmertForQuestionAnswering, folder)[1].unexpected == {name: (1, 9)}


def test_report_of_subfolder_and_of_variant(tmp_path: Path) -> None:
    model = LxmertForQuestionAnswering(LxmertConfig(**TINY))
    model.save_pretrained(tmp_path / "inner")
    report = load_complete(LxmertModel, tmp_path, subfolder="inner")[1]
    assert report.unexpected["answer_head.logit_fc.3.bias"] == (7,)
    model.save_pretrained(tmp_path / "half", variant="fp16")
    report = load_complete(LxmertModel, tmp_path / "half", variant="fp16")[1]
    assert len(report.unexpected) == 6
    assert report.unexpected["answer_head.logit_fc.3.bias"] is None

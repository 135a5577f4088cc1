"""`export_model`: the parity check before an export is kept, rejected models and options."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AttentionInterface, PreTrainedModel

from lxmert.errors import ConfigurationError, ExportError, MissingExtraError
from lxmert.inference.exporting import exporter, onnx_files
from lxmert.inference.exporting.exporter import ExportOptions, export_model
from lxmert.inference.exporting.folder import check_folder
from lxmert.inference.exporting.onnx_files import require_onnx
from lxmert.inference.exporting.parity import ModelScorer, ParityCheck
from lxmert.inference.exporting.signature import Batch, export_signature, random_batch
from lxmert.model import LxmertForPreTraining, LxmertForQuestionAnswering, LxmertModel
from tests.inference.exporting.conftest import ANSWERS, FEW_LAYERS, small_model, small_processor
from tests.model.small import small_config

TORCH = ExportOptions("torch", overwrite=True)


def write_dummy_file(*arguments: Any) -> None:
    arguments[-1].write_text("a model")


def stub_export(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[torch.Tensor], torch.Tensor],
    model: PreTrainedModel | None = None,
) -> PreTrainedModel:
    """A model whose exported files give changed scores, without the time that an export takes."""
    model = model or small_model()

    def run(path: Path) -> Callable[[Batch], Batch]:
        scorer = ModelScorer(model, export_signature(model))

        def scores(batch: Batch) -> Batch:
            return {name: change(values) for name, values in scorer(batch).items()}

        return scores

    monkeypatch.setattr(exporter, "write_program", write_dummy_file)
    monkeypatch.setattr(exporter, "ProgramScorer", run)
    for name in ("write_onnx", "write_int8"):
        monkeypatch.setattr(onnx_files, name, write_dummy_file)
    monkeypatch.setattr(onnx_files, "OnnxScorer", run)
    return model


@pytest.mark.parametrize("options", [TORCH, ExportOptions("onnx"), ExportOptions("onnx", int8=True)])
@pytest.mark.parametrize("shift", [0.05, math.nan])
def test_export_with_different_or_nan_scores_is_discarded(
    shift: float, options: ExportOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stub_export(monkeypatch, lambda scores: scores + shift)
    with pytest.raises(ExportError, match="on 21 random batches, question_answering_score differs by up to"):
        export_model(model, tmp_path / "out", options=options)
    assert not list(tmp_path.iterdir())


def test_float32_is_compared_also_on_given_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stub_export(monkeypatch, lambda scores: scores * 1.5 if len(scores) == 4 else scores)
    batch = random_batch(export_signature(model), model, (4, 3, 2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        largest = model(**batch).question_answering_score.abs().max()
    differs = f"question_answering_score differs by up to {largest / 2:.1e} where values reach {largest:.1f}"
    questions = ParityCheck("questions", [batch])
    with pytest.raises(ExportError, match=re.escape(f"on questions, {differs}")):
        export_model(model, tmp_path / "out", options=TORCH, checks=[questions])
    report = export_model(model, tmp_path / "out", options=TORCH)
    assert [parity.inputs for parity in report.float32] == ["21 random batches"]


def test_export_notifies_of_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stub_export(monkeypatch, lambda scores: scores)
    lines: list[str] = []
    export_model(model, tmp_path / "out", options=ExportOptions(int8=True), notify=lines.append)
    assert lines == [
        "exporting LxmertForQuestionAnswering",
        "comparing the file with the model",
        "quantising the weights to 8 bits",
        "comparing the file with the model",
    ]


def test_model_in_training_mode_is_exported_in_evaluation_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stub_export(monkeypatch, lambda scores: scores)
    export_model(model.train(), tmp_path / "out", options=TORCH)
    assert not model.training


def test_torch_export_needs_no_onnx_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stub_export(monkeypatch, lambda scores: scores)
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None)
    export_model(model, tmp_path / "out", options=TORCH)
    assert (tmp_path / "out" / "model.pt2").is_file()


def test_previous_export_is_kept_when_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stub_export(monkeypatch, lambda scores: scores)
    export_model(model, tmp_path / "out", options=TORCH)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    stub_export(monkeypatch, lambda scores: scores * 1.1)
    with pytest.raises(ExportError):
        export_model(model, tmp_path / "out", options=TORCH)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_existing_export_is_replaced_only_with_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stub_export(monkeypatch, lambda scores: scores)
    export_model(model, tmp_path / "out", small_processor(), TORCH)
    assert (tmp_path / "out" / "answers.json").exists()
    with pytest.raises(ConfigurationError, match="already contains an exported model"):
        export_model(model, tmp_path / "out", options=ExportOptions("torch"))
    export_model(model, tmp_path / "out", options=TORCH)
    assert not (tmp_path / "out" / "answers.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_folder_with_other_files_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stub_export(monkeypatch, lambda scores: scores)
    export_model(model, tmp_path / "out", small_processor(), TORCH)
    (tmp_path / "out" / "model.onnx.data").write_text("weights")  # Of an earlier export.
    check_folder(tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "notes.txt").write_text("Dear")
    (tmp_path / "out" / "zebra").mkdir()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ConfigurationError, match=r"out contains 'notes.txt' beside an exported model"):
        export_model(model, tmp_path / "out", options=TORCH)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_export_leaves_model_unchanged(torch_export: Any) -> None:
    assert torch_export.model.config._attn_implementation == small_model().config._attn_implementation
    assert all(weights.requires_grad for weights in torch_export.model.parameters())


def test_export_does_not_use_custom_attention_implementation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on GPUs alone")

    AttentionInterface.register("of_gpus", fail)
    model = stub_export(monkeypatch, lambda scores: scores)
    model.set_attn_implementation("of_gpus")
    report = export_model(model, tmp_path / "exported", options=TORCH)
    assert report.float32[0].agreement == 1.0
    assert model.config._attn_implementation == "of_gpus"


def test_unsupported_model_or_mismatched_processor_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"float32, got bfloat16; call model.float\(\) first"):
        export_model(small_model().to(torch.bfloat16), tmp_path / "out", options=TORCH)
    with pytest.raises(ConfigurationError, match="a LxmertEncoder cannot be exported"):
        export_signature(small_model().lxmert.encoder)
    processor = small_processor()
    processor._answers = ["yes", "no"]
    with pytest.raises(ConfigurationError, match=r"scores 9 answers, but answers.json has 2"):
        export_model(small_model(), tmp_path / "out", processor, TORCH)
    processor = small_processor()
    processor.max_text_length = 17
    with pytest.raises(
        ConfigurationError, match=r"reads 16 word pieces, but the processor makes texts of .* 17"
    ):
        export_model(small_model(), tmp_path / "out", processor, TORCH)
    processor = small_processor()
    words = len(processor.tokenizer)
    processor.tokenizer.add_tokens(["lighthouse"])
    with pytest.raises(
        ConfigurationError, match=f"knows {words} word pieces, but the tokenizer has {words + 1}"
    ):
        export_model(small_model(), tmp_path / "out", processor, TORCH)
    assert not list(tmp_path.iterdir())


def test_model_with_some_weights_of_other_dtype_is_rejected(tmp_path: Path) -> None:
    model = small_model()
    model.answer_head.to(torch.bfloat16)
    with pytest.raises(ConfigurationError, match="float32, got bfloat16, float32"):
        export_model(model, tmp_path / "out", options=TORCH)


def test_processor_with_more_answers_than_model_has_classes_is_rejected(tmp_path: Path) -> None:
    processor = small_processor()
    processor._answers = [*ANSWERS, "five"]
    with pytest.raises(ConfigurationError, match=r"scores 9 answers, but answers.json has 10"):
        export_model(small_model(), tmp_path / "out", processor, TORCH)


@pytest.mark.parametrize("model_class", [LxmertForQuestionAnswering, LxmertForPreTraining, LxmertModel])
@pytest.mark.parametrize("answers", [ANSWERS, None])
def test_processor_that_fits_is_accepted(
    model_class: type[PreTrainedModel],
    answers: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Texts as long as the model reads, a vocabulary smaller than the model's, no scores or no answers."""
    processor = small_processor()
    config = small_config(vocab_size=len(processor.tokenizer) + 3, **FEW_LAYERS)
    processor.max_text_length = config.max_position_embeddings
    processor._answers = answers
    model = stub_export(monkeypatch, lambda scores: scores, model_class(config))
    export_model(model, tmp_path / "out", processor, TORCH)
    assert (tmp_path / "out" / "answers.json").exists() is (answers is not None)


def test_pretraining_model_without_answer_head_exports_without_scores() -> None:
    signature = export_signature(LxmertForPreTraining(small_config(task_qa=False, **FEW_LAYERS)))
    assert signature.output_names == ["prediction_logits", "cross_relationship_score"]
    assert signature.scores is None


def test_invalid_export_options_are_rejected() -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'tflite'"):
        ExportOptions("tflite")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="int8"):
        ExportOptions("torch", int8=True)


def test_missing_onnx_package_raises_missing_extra_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "lxmert\[onnx\]"'):
        require_onnx()
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(MissingExtraError, match=r"not installed \(onnxscript\)"):
        require_onnx()
    with pytest.raises(MissingExtraError):
        export_model(small_model(), tmp_path / "out")
    assert not list(tmp_path.iterdir())

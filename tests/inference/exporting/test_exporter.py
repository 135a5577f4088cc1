"""`export_model`: the parity check before an export is kept, atomic folders, rejected models and options."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AttentionInterface

from lxmert.errors import ConfigurationError, ExportError, MissingExtraError
from lxmert.inference.exporting import exporter
from lxmert.inference.exporting.exporter import ExportOptions, ExportReport, export_model
from lxmert.inference.exporting.folder import atomic_folder, check_folder
from lxmert.inference.exporting.onnx_files import require_onnx
from lxmert.inference.exporting.parity import Parity, ParityCheck, compare, random_check
from lxmert.inference.exporting.signature import Batch, ScoringModule, export_signature
from tests.inference.exporting.conftest import small_model, small_processor

SCORES = "question_answering_score"
TORCH = ExportOptions("torch", overwrite=True)


def write_dummy_program(model: Any, signature: Any, path: Path) -> None:
    path.write_text("a program")


def stub_export(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """A model whose exported files give changed scores, without the time that an export takes."""
    model = small_model()

    def run(path: Path) -> Callable[[Batch], Batch]:
        module = ScoringModule(model, export_signature(model))

        @torch.no_grad()
        def scores(batch: Batch) -> Batch:
            return {name: change(values) for name, values in module(**batch).items()}

        return scores

    monkeypatch.setattr(exporter, "write_program", write_dummy_program)
    monkeypatch.setattr(exporter, "ProgramScorer", run)
    return model


@pytest.mark.parametrize("shift", [0.05, math.nan])
def test_export_with_different_or_nan_scores_is_discarded(
    shift: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stub_export(monkeypatch, lambda scores: scores + shift)
    with pytest.raises(ExportError, match="question_answering_score differs by up to"):
        export_model(model, tmp_path / "out", options=TORCH)
    assert not list(tmp_path.iterdir())


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


def test_folder_or_file_that_is_no_export_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "first.txt").write_text("Dear")
    (tmp_path / "file").write_text("Dear")
    for name in ("letters", "file"):
        with pytest.raises(ConfigurationError, match="is not an exported model"):
            check_folder(tmp_path / name, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", overwrite=False)
    check_folder(tmp_path / "new", overwrite=False)


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


def test_atomic_folder_keeps_symlinks(tmp_path: Path) -> None:
    (tmp_path / "far" / "real").mkdir(parents=True)
    (tmp_path / "far" / "real" / "old").write_text("old")
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(tmp_path / "far" / "real")
    dangling.symlink_to(tmp_path / "far" / "new")
    for place in (link, dangling):
        with atomic_folder(place) as partial:
            (partial / "whole").write_text("whole")
        assert place.is_symlink()
        assert [path.name for path in place.iterdir()] == ["whole"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "far", "link"]
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["new", "real"]


def test_atomic_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"

    def stop_halfway() -> None:
        with atomic_folder(folder) as partial:
            (partial / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert not list(folder.parent.iterdir())
    with atomic_folder(folder) as partial:
        (partial / "whole").write_text("whole")
        assert not folder.exists()
    assert (folder / "whole").read_text() == "whole"
    with atomic_folder(folder) as partial:
        (partial / "other").write_text("other")
    assert [path.name for path in folder.iterdir()] == ["other"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


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


def test_invalid_export_options_are_rejected() -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'tflite'"):
        ExportOptions("tflite")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="int8"):
        ExportOptions("torch", int8=True)


def test_missing_onnx_package_raises_missing_extra_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lxmert.inference.exporting.onnx_files.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "lxmert\[onnx\]"'):
        require_onnx()
    with pytest.raises(MissingExtraError):
        export_model(small_model(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_random_check_covers_extreme_sizes_and_masks() -> None:
    model = small_model()
    check = random_check(model, export_signature(model, segments=True))
    batches = list(check.batches)
    sizes = {(*batch["input_ids"].shape, batch["visual_feats"].shape[1]) for batch in batches}
    assert (1, 1, 1) in sizes
    assert max(words for _, words, _ in sizes) == model.config.max_position_embeddings == 16
    assert any(batch["token_type_ids"].any() for batch in batches)
    for name in ("attention_mask", "visual_attention_mask"):
        kept = [batch[name].sum(dim=1) for batch in batches]
        assert any((count == 0).any() for count in kept), "rows of padding alone"
        assert any(
            (count > 0).any() and (count < batch[name].shape[1]).any()
            for count, batch in zip(kept, batches, strict=True)
        )
        assert any((batch[name] == 1).all() for batch in batches)


def test_compare_counts_differences_and_equal_answers() -> None:
    signature = export_signature(small_model())
    batches = [
        {
            "input_ids": torch.zeros(rows, 4),
            "attention_mask": torch.ones(rows, 4),
            "visual_feats": torch.zeros(rows, 6, 13),
            "visual_pos": torch.zeros(rows, 6, 4),
            "visual_attention_mask": torch.ones(rows, 6),
        }
        for rows in (2, 3)
    ]

    def expected(batch: Batch) -> Batch:
        return {
            SCORES: torch.tensor([[0.0, 20.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])[
                : len(batch["input_ids"])
            ]
        }

    def found(batch: Batch) -> Batch:
        scores = expected(batch)[SCORES].clone()
        scores[1] = torch.tensor([1.5, 1.0, 0.0])
        return {SCORES: scores}

    parity = compare(expected, found, ParityCheck("rows", batches), signature)
    assert (parity.batches, parity.answers, parity.equal_answers) == (2, 5, 3)
    assert parity.sizes == {(2, 4, 6), (3, 4, 6)}
    assert parity.difference == 1.5
    assert parity.summary() == "rows: largest difference 1.5e+00, 3 of 5 answers equal (60.0%)"
    report = ExportReport(Path("out"), int8=[parity])
    assert not report.agrees
    parity.equal_answers, parity.answers = 99, 100
    assert report.agrees


@pytest.mark.parametrize(
    ("difference", "largest", "beyond"),
    [(9e-5, 0.5, []), (1.1e-4, 0.5, [SCORES]), (9e-4, 10.0, []), (1.1e-3, 10.0, [SCORES])],
)
def test_parity_tolerance_scales_with_largest_score(
    difference: float, largest: float, beyond: list[str]
) -> None:
    parity = Parity("rows")
    parity.add({SCORES: torch.tensor([largest, 0.0])}, {SCORES: torch.tensor([largest, difference])}, None)
    assert parity.beyond_tolerance == beyond


def test_scores_of_other_shape_are_beyond_tolerance() -> None:
    parity = Parity("rows")
    parity.add({SCORES: torch.ones(3, 2)}, {SCORES: torch.ones(3, 1)}, None)
    assert parity.beyond_tolerance == [SCORES]


def test_single_nan_score_stays_beyond_tolerance() -> None:
    parity = Parity("rows")
    for found in (1.0, math.nan, 1.0):
        parity.add({SCORES: torch.ones(3, 2)}, {SCORES: torch.full((3, 2), found)}, None)
    assert math.isnan(parity.difference)
    assert parity.beyond_tolerance == [SCORES]

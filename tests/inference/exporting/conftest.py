"""Small models, exported once for all tests: that takes seconds each."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from lxmert import LxmertProcessor, LxmertTokenizerFast
from lxmert.inference.exporting.exporter import ExportOptions, ExportReport, export_model
from lxmert.inference.models import embedded_model_folder
from lxmert.model import LxmertForQuestionAnswering
from tests.model.small import small_config

ANSWERS = ["yes", "no", "red", "blue", "circle", "star", "two", "three", "four"]

# Every layer costs time to export; weights of this size make answers differ from input to input.
FEW_LAYERS: dict[str, Any] = {"l_layers": 1, "x_layers": 2, "r_layers": 1, "initializer_range": 0.3}


class Exported(NamedTuple):
    """A model with the folder that it was exported to."""

    model: LxmertForQuestionAnswering
    processor: LxmertProcessor
    folder: Path
    report: ExportReport


def small_processor() -> LxmertProcessor:
    tokenizer = LxmertTokenizerFast(vocab_file=str(embedded_model_folder() / "vocab.txt"))
    return LxmertProcessor(tokenizer, answers=ANSWERS, max_text_length=6)


def small_model() -> LxmertForQuestionAnswering:
    torch.manual_seed(5)
    words = len(small_processor().tokenizer)
    model = LxmertForQuestionAnswering(small_config(vocab_size=words, **FEW_LAYERS))
    return model.eval()


@pytest.fixture(scope="session")
def onnx_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The small model as ONNX."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("exports") / "onnx"
    model, processor = small_model(), small_processor()
    report = export_model(model, folder, processor, ExportOptions("onnx"), task="vqa")
    return Exported(model, processor, folder, report)


@pytest.fixture(scope="session")
def torch_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same model for torch.export, with segments."""
    folder = tmp_path_factory.mktemp("exports") / "torch"
    model, processor = small_model(), small_processor()
    report = export_model(model, folder, processor, ExportOptions("torch", segments=True))
    return Exported(model, processor, folder, report)

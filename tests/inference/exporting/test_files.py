"""Exported files give the model's scores for any sizes and masks, without this package."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from lxmert.inference.exporting import onnx_files
from lxmert.inference.exporting.exporter import ExportOptions, export_model
from lxmert.model import LxmertForPreTraining, LxmertForVisualReasoning, LxmertModel
from tests.inference.exporting.conftest import ANSWERS, FEW_LAYERS, Exported, small_model
from tests.model.small import SIZES, small_config

# Batch, words, objects.
TESTED_SIZES = [(1, 1, 1), (3, 7, 5), (5, 16, 2), (2, 1, 40)]

# Settings of a model that must not change what is exported.
CHANGED_OUTPUTS = {"output_hidden_states": True, "output_attentions": True, "return_dict": False}

RUN_WITHOUT_LXMERT = """
import sys
for name in ("lxmert", "transformers"):
    sys.modules[name] = None  # importing it is an error
import torch
from pathlib import Path
from safetensors.torch import load_file, save_file
model = torch.export.load(sys.argv[1]).module()
for given in Path(sys.argv[2]).glob("*.given"):
    save_file(model(**load_file(given)), given.with_suffix(".found"))
"""


def batch_of(sizes: tuple[int, int, int], masked: bool = False) -> dict[str, Tensor]:
    batch, words, objects = sizes
    generator = torch.Generator().manual_seed(sum(sizes))
    inputs = {
        "input_ids": torch.randint(0, 60, (batch, words), generator=generator),
        "attention_mask": torch.ones(batch, words, dtype=torch.int64),
        "visual_feats": torch.randn(batch, objects, SIZES["visual_feat_dim"], generator=generator),
        "visual_pos": torch.rand(batch, objects, 4, generator=generator),
        "visual_attention_mask": torch.ones(batch, objects, dtype=torch.int64),
    }
    if masked:
        inputs["attention_mask"][:, words // 2 :] = 0
        inputs["visual_attention_mask"][:, objects // 2 :] = 0
        inputs["attention_mask"][0] = 0
        inputs["visual_attention_mask"][-1] = 0
    return inputs


def run_onnx(folder: Path, inputs: dict[str, Tensor]) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return session.run(None, {name: values.numpy() for name, values in inputs.items()})[0]


@pytest.mark.parametrize("sizes", TESTED_SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_onnx_gives_the_models_scores(
    onnx_export: Exported, sizes: tuple[int, int, int], masked: bool
) -> None:
    inputs = batch_of(sizes, masked)
    with torch.no_grad():
        expected = onnx_export.model(**inputs).question_answering_score
    np.testing.assert_allclose(run_onnx(onnx_export.folder, inputs), expected, rtol=1e-5, atol=1e-5)


def test_masked_words_and_objects_do_not_change_onnx_scores(onnx_export: Exported) -> None:
    """What is hidden has no part in the scores, so the file has not left the masks out."""
    inputs = batch_of((3, 7, 5), masked=True)
    first = run_onnx(onnx_export.folder, inputs)
    inputs["visual_feats"][1, 4] += 1.0
    inputs["input_ids"][1, 6] = 17
    np.testing.assert_allclose(run_onnx(onnx_export.folder, inputs), first, rtol=1e-5, atol=1e-5)
    inputs["visual_feats"][1, 0] += 1.0
    assert np.abs(run_onnx(onnx_export.folder, inputs) - first)[1].max() > 1e-2


def test_pt2_program_runs_without_lxmert_and_transformers(torch_export: Exported, tmp_path: Path) -> None:
    expected = {}
    for sizes in TESTED_SIZES:
        inputs = batch_of(sizes, masked=True)
        inputs["token_type_ids"] = torch.arange(sizes[1]).remainder(2).expand(sizes[0], -1).clone()
        with torch.no_grad():
            expected[f"{sum(sizes)}.found"] = torch_export.model(**inputs).question_answering_score
        save_file(inputs, tmp_path / f"{sum(sizes)}.given")
    command = [
        sys.executable,
        "-c",
        RUN_WITHOUT_LXMERT,
        str(torch_export.folder / "model.pt2"),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(expected) == len(TESTED_SIZES)
    for name, scores in expected.items():
        found = load_file(tmp_path / name)["question_answering_score"]
        torch.testing.assert_close(found, scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model_class", "outputs"),
    [
        (LxmertForVisualReasoning, ["logits"]),
        (
            LxmertForPreTraining,
            ["prediction_logits", "cross_relationship_score", "question_answering_score"],
        ),
        (LxmertModel, ["language_output", "vision_output", "pooled_output"]),
    ],
)
def test_pt2_program_of_other_model_classes_gives_their_outputs(
    model_class: type, outputs: list[str], tmp_path: Path
) -> None:
    """With the same checks, which fail where a score differs."""
    torch.manual_seed(2)
    model = model_class(small_config(**FEW_LAYERS, **CHANGED_OUTPUTS)).eval()
    report = export_model(model, tmp_path / "out", options=ExportOptions("torch"))
    assert list(report.float32[0].differences) == outputs
    assert (3, 5, 7) in report.float32[0].sizes
    assert (report.float32[0].answers > 50) is (model_class is not LxmertModel)
    inputs = batch_of((3, 7, 5))
    if model_class is LxmertForVisualReasoning:
        for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
            inputs[name] = torch.stack([inputs[name], inputs[name].roll(1, dims=0)], dim=1)
    with torch.no_grad():
        expected = model(**inputs, return_dict=True)
    found = torch.export.load(tmp_path / "out" / "model.pt2").module()(**inputs)
    for name in outputs:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)
    settings = json.loads((tmp_path / "out" / "export.json").read_text())
    shapes = {output["name"]: output["shape"] for output in settings["outputs"]}
    axes = {"batch": 3, "words": 7, "objects": 5}
    for name in outputs:
        assert tuple(axes.get(size, size) for size in shapes[name]) == expected[name].shape


def test_onnx_of_pair_model_gives_its_scores(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(2)
    model = LxmertForVisualReasoning(small_config(**FEW_LAYERS)).eval()
    export_model(model, tmp_path / "out")
    inputs = batch_of((3, 7, 5), masked=True)
    for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
        inputs[name] = torch.stack([inputs[name], inputs[name].roll(1, dims=0)], dim=1)
    with torch.no_grad():
        expected = model(**inputs).logits
    np.testing.assert_allclose(run_onnx(tmp_path / "out", inputs), expected, rtol=1e-5, atol=1e-5)


def test_int8_onnx_is_smaller_and_near_float32_scores(
    onnx_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = onnx_export.folder / "model.onnx"
    monkeypatch.setattr(onnx_files, "write_onnx", lambda model, signature, path: shutil.copy(exact, path))
    report = export_model(small_model(), tmp_path / "out", options=ExportOptions(int8=True))
    [figures] = json.loads((tmp_path / "out" / "parity.json").read_text())["int8"]
    assert figures["answers"] == report.int8[0].answers > 50
    assert report.int8[0].agreement > 0.8
    assert 1e-4 < report.int8[0].difference < 1.0
    assert report.float32[0].difference < 1e-4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "export.json",
        "model.onnx",
        "parity.json",
    ]
    assert json.loads((tmp_path / "out" / "export.json").read_text())["int8"] is True
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "ONNX Runtime (operator set 20), 8-bit weights, " in readme
    assert "the scores of an example vary somewhat with the\nother examples" in readme
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert "MatMulInteger" in kinds
    assert "Gemm" not in kinds
    weights = {(tuple(one.dims), onnx.TensorProto.DataType.Name(one.data_type)) for one in graph.initializer}
    hidden, intermediate = SIZES["hidden_size"], SIZES["intermediate_size"]
    assert ((hidden, intermediate), "INT8") in weights
    assert [intermediate] in [one.dims for one in graph.initializer if one.name.endswith("_scale")]
    assert ((onnx_export.model.config.vocab_size, hidden), "FLOAT") in weights, "the word embedding"
    assert (tmp_path / "out" / "model.onnx").stat().st_size < exact.stat().st_size
    inputs = batch_of((3, 7, 5), masked=True)
    with torch.no_grad():
        expected = onnx_export.model(**inputs).question_answering_score
    assert np.abs(run_onnx(tmp_path / "out", inputs) - expected.numpy()).max() < 1.0


@pytest.mark.parametrize("junk", [1e5, np.nan])
def test_contents_of_hidden_objects_do_not_change_int8_scores(
    junk: float, onnx_export: Exported, tmp_path: Path
) -> None:
    onnx_files.write_int8(onnx_export.folder / "model.onnx", tmp_path / "model.onnx")
    inputs = batch_of((3, 7, 5))
    inputs["visual_attention_mask"][1, 2:] = 0
    first = run_onnx(tmp_path, inputs)
    inputs["visual_feats"][1, 3] = junk
    inputs["visual_pos"][1, 2] = junk
    np.testing.assert_array_equal(run_onnx(tmp_path, inputs), first)


def test_onnx_scorer_runs_with_given_number_of_threads(onnx_export: Exported) -> None:
    scorer = onnx_files.OnnxScorer(onnx_export.folder / "model.onnx", threads=1)
    assert scorer.session.get_session_options().intra_op_num_threads == 1


def test_large_weights_are_written_to_separate_data_file(
    onnx_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "MAX_SINGLE_FILE_BYTES", 1000)
    onnx_files.write_int8(onnx_export.folder / "model.onnx", tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert run_onnx(tmp_path, batch_of((3, 7, 5))).shape == (3, len(ANSWERS))


def test_onnx_has_standard_operators_and_no_source_paths(onnx_export: Exported) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(onnx_export.folder / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 20)]
    assert {node.domain for node in graph.graph.node} == {""}
    assert b".py" not in (onnx_export.folder / "model.onnx").read_bytes()


def test_pt2_program_has_no_source_paths(torch_export: Exported) -> None:
    assert b".py" not in (torch_export.folder / "model.pt2").read_bytes()


def test_onnx_computes_only_first_word_in_last_cross_layer(onnx_export: Exported) -> None:
    """The short way of the model: two crossed layers have three feed-forward blocks, not four."""
    onnx = pytest.importorskip("onnx")
    weights = onnx.load(onnx_export.folder / "model.onnx").graph.initializer
    first_halves = [
        one.name for one in weights if list(one.dims) == [SIZES["hidden_size"], SIZES["intermediate_size"]]
    ]
    assert len(first_halves) == 1 + 1 + 3


def test_export_json_describes_inputs_and_outputs(onnx_export: Exported, torch_export: Exported) -> None:
    runtime = pytest.importorskip("onnxruntime")
    settings = json.loads((onnx_export.folder / "export.json").read_text())
    session = runtime.InferenceSession(str(onnx_export.folder / "model.onnx"))
    for kind, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        described = [
            (one["name"], one["dtype"].replace("float32", "float"), one["shape"]) for one in settings[kind]
        ]
        assert [(one.name, one.type[7:-1], one.shape) for one in found] == described
    assert settings["scores"] == "question_answering_score"
    assert (settings["max_text_length"], settings["visual_feat_dim"], settings["task"]) == (6, 13, "vqa")
    assert (settings["most_words"], settings["visual_pos_dim"], settings["export_version"]) == (16, 4, 1)
    assert (settings["format"], settings["file"], settings["opset"]) == ("onnx", "model.onnx", 20)
    assert settings["int8"] is False
    assert list(settings["versions"]) == ["lxmert", "torch", "onnx", "onnxscript", "onnxruntime"]
    assert settings["versions"]["torch"] == torch.__version__
    torch_settings = json.loads((torch_export.folder / "export.json").read_text())
    assert [one["name"] for one in torch_settings["inputs"]] == [
        *(one["name"] for one in settings["inputs"]),
        "token_type_ids",
    ]
    assert torch_settings["format"] == "torch"
    assert (torch_settings["file"], torch_settings["opset"]) == ("model.pt2", None)
    assert list(torch_settings["versions"]) == ["lxmert", "torch"]


def test_exported_tokenizer_json_encodes_like_processor(onnx_export: Exported) -> None:
    texts = ["Is it red?", "How many blue circles are left of the large star there?", "circle"]
    tokenizer = Tokenizer.from_file(str(onnx_export.folder / "tokenizer.json"))
    found = tokenizer.encode_batch(texts)
    expected = onnx_export.processor(text=texts)
    assert expected["input_ids"].shape == (3, 6)
    assert [one.ids for one in found] == expected["input_ids"].tolist()
    assert [one.attention_mask for one in found] == expected["attention_mask"].tolist()
    assert json.loads((onnx_export.folder / "answers.json").read_text()) == ANSWERS
    again = onnx_export.processor(text=texts, max_length=9)
    assert again["input_ids"].shape == (3, 9), "the processor's own tokenizer was left as it was"

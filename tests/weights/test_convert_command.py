"""`lxmert convert` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

import lxmert
from lxmert.cli.convert import convert
from lxmert.errors import LxmertError, WeightsError
from lxmert.weights import load_complete
from tests.weights.originals import finetuned, nlvr2

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(97 + i) for i in range(26))]
ANSWERS = ["", "yes", "no", "1", "2", "red", "left"]

app = typer.Typer()
app.command()(convert)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(finetuned().tensors, tmp_path / "BEST.pth")
    return tmp_path / "BEST.pth"


def test_convert_with_vocab_and_answers_writes_loadable_model_and_processor(
    tmp_path: Path, checkpoint: Path
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "ans2label.json").write_text(
        json.dumps({answer: label for label, answer in enumerate(ANSWERS)})
    )
    result = run(
        checkpoint, tmp_path / "ours", "--heads", 3,
        "--answers", tmp_path / "ans2label.json", "--vocab", tmp_path / "vocab.txt",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "143 of 143 tensors matched" in result.output
    processor = lxmert.LxmertProcessor.from_pretrained(tmp_path / "ours")
    model, _ = load_complete(lxmert.LxmertForQuestionAnswering, tmp_path / "ours")
    assert processor.answers == ANSWERS
    scores = model(
        **processor(text="a b", regions=None),
        visual_feats=torch.ones(1, 2, 10),
        visual_pos=torch.ones(1, 2, 4),
    )
    assert scores.question_answering_score.shape == (1, 7)


def test_encoder_only_prints_unused_tensors(tmp_path: Path) -> None:
    torch.save(nlvr2().tensors, tmp_path / "BEST.pth")
    result = run(tmp_path / "BEST.pth", tmp_path / "ours", "--heads", 3, "--encoder-only")
    assert result.exit_code == 0, result.output
    assert "unexpected" in result.output
    assert "logit_fc.0.weight" in result.output
    assert "6 unused" in result.output


def test_converting_back_to_original_restores_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    assert run(checkpoint, tmp_path / "ours", "--heads", 3).exit_code == 0
    result = run(tmp_path / "ours", tmp_path / "BACK.pth", "--to", "original")
    assert result.exit_code == 0, result.output
    assert "use --heads 3" in result.output
    before, after = (torch.load(path, weights_only=True) for path in (checkpoint, tmp_path / "BACK.pth"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_invalid_inputs_raise_lxmert_errors(tmp_path: Path, checkpoint: Path) -> None:
    for words in ([tmp_path / "none.pth", tmp_path / "x"], [checkpoint, tmp_path / "x"]):
        error = run(*words).exception
        assert isinstance(error, WeightsError)
        assert "\n" not in str(error)
    (tmp_path / "few.json").write_text('["yes"]')
    error = run(checkpoint, tmp_path / "x", "--heads", 3, "--answers", tmp_path / "few.json").exception
    assert isinstance(error, LxmertError)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS[:-1]) + "\n")
    error = run(checkpoint, tmp_path / "x", "--heads", 3, "--vocab", tmp_path / "vocab.txt").exception
    assert isinstance(error, WeightsError)
    assert "30 word pieces, but the checkpoint embeds 31" in str(error)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_output_path_of_wrong_kind_raises_weights_error(
    tmp_path: Path, checkpoint: Path, overwrite: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert run(checkpoint, tmp_path / "ours", "--heads", 3).exit_code == 0
    back = ["--to", "original", *overwrite]
    for words, part in (
        ([checkpoint, file, "--heads", 3, *overwrite], "file' is a file; expected a folder"),
        ([checkpoint, file / "ours", "--heads", 3, *overwrite], "file' is a file; expected a folder"),
        ([tmp_path / "ours", file / "BACK.pth", *back], "file' is a file; expected a folder"),
        ([tmp_path / "ours", tmp_path, *back], "is a folder; expected the name of a .pth"),
    ):
        error = run(*words).exception
        assert isinstance(error, WeightsError)
        assert part in str(error)
    assert file.read_text() == "mine"


def test_failed_export_keeps_existing_checkpoint(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(checkpoint, tmp_path / "ours", "--heads", 3).exit_code == 0
    before = checkpoint.read_bytes()

    def full_disk(tensors: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    error = run(tmp_path / "ours", checkpoint, "--to", "original", "--overwrite").exception
    assert isinstance(error, OSError)
    assert checkpoint.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda tensor: tensor.to("meta"), "meta device"),
        (lambda tensor: tensor.to_sparse(), "is a sparse_coo tensor"),
    ],
)
def test_meta_or_sparse_tensor_raises_weights_error_naming_it(
    tmp_path: Path, checkpoint: Path, change: Callable[[torch.Tensor], torch.Tensor], part: str
) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    tensors["logit_fc.0.weight"] = change(tensors["logit_fc.0.weight"])
    torch.save(tensors, checkpoint)
    error = run(checkpoint, tmp_path / "ours", "--heads", 3).exception
    assert isinstance(error, WeightsError)
    assert "logit_fc.0.weight" in str(error)
    assert part in str(error)


@pytest.mark.parametrize(
    "option", [["--heads", "3"], ["--encoder-only"], ["--vocab", "v.txt"], ["--answers", "a.json"]]
)
def test_options_of_other_direction_exit_with_usage_error(
    tmp_path: Path, checkpoint: Path, option: list[str]
) -> None:
    assert run(tmp_path, tmp_path / "x.pth", "--to", "original", *option).exit_code == 2
    assert run(checkpoint, tmp_path / "x", "--data-parallel").exit_code == 2

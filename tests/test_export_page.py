"""docs/export.md: its commands, its example and its Python work as written, on the embedded model."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from lxmert import LxmertPredictor, Regions
from lxmert.inference.exporting import onnx_files
from tests.command_line import exit_status

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^ {4}(lxmert .+?)(?: {2,}#.*)?$", TEXT, re.MULTILINE)
[EXAMPLE] = re.findall(r"^ {4}(python .+)$", TEXT, re.MULTILINE)

RUN_WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "transformers", "lxmert"):
    sys.modules[name] = None  # importing it is an error
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a generated image, and a data set to compare on."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("page")
    exit_status("scenes", "make", str(folder / "scenes-data"), "--images", "10", "--seed", "3")
    Image.open(next((folder / "scenes-data" / "images").rglob("*.*g"))).save(folder / "photo.png")
    return folder


def test_commands_example_and_python_run_as_written(
    page_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (len(COMMANDS), len(SNIPPETS)) == (5, 2)
    monkeypatch.chdir(page_folder)
    write_onnx = onnx_files.write_onnx
    exported_model = page_folder / "exported" / "model.onnx"
    # The same model again is the same file, and takes as long again.
    monkeypatch.setattr(
        onnx_files,
        "write_onnx",
        lambda model, signature, path: (
            shutil.copy(exported_model, path)
            if exported_model.exists()
            else write_onnx(model, signature, path)
        ),
    )
    for command in COMMANDS:
        capsys.readouterr()
        status = exit_status(*shlex.split(command)[1:])
        captured = capsys.readouterr()
        assert status == 0, f"{command}: {captured.err}"
        if "--check" in command:
            assert re.search(r"int8, \d+ questions of scenes-data, test: .* answers equal \(", captured.out)
    for folder, small in (("exported", False), ("exported-int8", True), ("exported-torch", False)):
        figures = json.loads((page_folder / folder / "parity.json").read_text())
        assert ("int8" in figures) is small
        [random, *questions] = figures["int8" if small else "float32"]
        assert random["answers"] > 50
        for check in questions:
            assert check["equal_answers"] >= 0.97 * check["answers"] > 5

    question = shlex.split(EXAMPLE)[-1]
    words = shlex.split(EXAMPLE.replace("examples/", f"{ROOT}/examples/"))[1:]
    with (page_folder / "photo.tsv").open("a") as rows:
        rows.write("empty.png\t150\t200\t\t\t\t\t0\t\t\n")
    done = subprocess.run(
        [sys.executable, "-c", RUN_WITHOUT_TORCH, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    predictor = LxmertPredictor.from_pretrained("scenes", device="cpu")
    found = predictor.regions("photo.png")
    nothing = Regions(torch.zeros(0, 4), torch.zeros(0, found.feature_dim), (150, 200), "none")
    [[best]], [[guess]] = (predictor.answer(regions, [question]) for regions in (found, nothing))
    assert done.stdout == (
        f"photo.png: {best.text} {best.probability:.0%}\nempty.png: {guess.text} {guess.probability:.0%}\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", "\n".join(SNIPPETS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names, shape = done.stdout.splitlines()
    assert "visual_attention_mask" in names
    assert shape == "torch.Size([1, 36])"


def test_exported_folder_holds_files_listed_in_table(page_folder: Path) -> None:
    names = set(re.findall(r"^\| `([\w.]+)`", TEXT, re.MULTILINE))
    found = {path.name for path in (page_folder / "exported").iterdir()}
    assert found == names


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z][\w-]+)", TEXT))))
def test_option_named_on_page_exists(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_status("export", "--help")
    assert option in capsys.readouterr().out

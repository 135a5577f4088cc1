"""Every example runs as written; a small local folder stands in for the hub's checkpoint."""

import subprocess
import sys
from pathlib import Path

import pytest

# onnx_answers.py needs what the commands of docs/export.md make; tests/test_export_page.py runs it on that.
EXAMPLES = sorted(
    path for path in (Path(__file__).parents[2] / "examples").glob("*.py") if path.stem != "onnx_answers"
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_as_written(example: Path, folder_with_small_checkpoint: Path) -> None:
    if example.stem.startswith("keras_"):
        pytest.importorskip("tensorflow")
    command = [sys.executable, str(example)]
    done = subprocess.run(
        command, cwd=folder_with_small_checkpoint, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_example_of_an_exported_model_names_its_arguments() -> None:
    pytest.importorskip("onnxruntime")
    example = Path(__file__).parents[2] / "examples" / "onnx_answers.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'usage: onnx_answers.py FOLDER FEATURES.tsv "QUESTION"\n'

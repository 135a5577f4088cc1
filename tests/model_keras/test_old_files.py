"""Files and numbers of the TensorFlow classes that `transformers` shipped up to 4.57."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lxmert import TFLxmertForPreTraining, TFLxmertModel  # noqa: E402
from lxmert.weights import load_complete  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden" / "tensorflow"


def unpacked(name: str, folder: Path) -> Path:
    """One of the old class's folders, as it wrote it."""
    for path in (GOLDEN / name).iterdir():
        data = path.read_bytes()
        if path.suffix == ".gz":
            path, data = path.with_suffix(""), gzip.decompress(data)
        (folder / path.name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("name", "model_class"),
    [
        ("pretraining_h5", TFLxmertForPreTraining),
        ("pretraining_safetensors", TFLxmertForPreTraining),
        ("model_h5", TFLxmertModel),
    ],
)
def test_old_files_load_and_give_golden_outputs(name: str, model_class: Any, tmp_path: Path) -> None:
    model, report = load_complete(model_class, unpacked(name, tmp_path))
    assert not report.unexpected
    golden = np.load(GOLDEN / f"{name.partition('_')[0]}.npz")
    given = {key.removeprefix("input."): golden[key] for key in golden if key.startswith("input.")}
    output = model(given, output_attentions=True, output_hidden_states=True)
    expected = [key.removeprefix("output.") for key in golden if key.startswith("output.")]
    assert len(expected) == 12
    for path in expected:
        value: Any = output
        for step in path.split("."):
            value = value[int(step) if step.isdigit() else step]
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(value), golden[f"output.{path}"], atol=1e-5, rtol=1e-5, err_msg=path
        )


def test_losses_equal_golden_losses_of_old_class() -> None:
    golden = np.load(GOLDEN / "pretraining.npz")
    model = TFLxmertForPreTraining.from_pretrained(GOLDEN / "pretraining_safetensors")
    given = {key.removeprefix("input."): golden[key] for key in golden if key.startswith("input.")}
    ones = np.ones(golden["label.obj"].shape, np.float32)
    labels: dict[str, Any] = {
        name: golden[f"label.{name}"] for name in ("masked_lm_labels", "matched_label", "ans")
    }
    labels["obj_labels"] = {part: (golden[f"label.{part}"], ones) for part in ("obj", "attr", "feat")}
    for name, value in labels.items():
        loss = float(model({**given, name: value}).loss)
        assert loss == pytest.approx(float(golden[f"loss.{name}"]), rel=1e-5), name
    assert float(model({**given, **labels}).loss) == pytest.approx(float(golden["loss.total"]), rel=1e-5)

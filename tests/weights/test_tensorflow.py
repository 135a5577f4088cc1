"""Files of transformers' former TensorFlow classes load as if written by the PyTorch classes."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lxmert import LxmertConfig, LxmertForPreTraining
from lxmert.errors import MissingExtraError, WeightsError
from lxmert.weights.files import read_folder, read_folder_shapes
from lxmert.weights.names import from_tensorflow
from tests.error_assertions import error_message

GOLDEN = Path(__file__).parents[1] / "golden" / "tensorflow"


@pytest.fixture(scope="module")
def h5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("h5")
    packed = GOLDEN / "pretraining_h5" / "tf_model.h5.gz"
    (folder / "tf_model.h5").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lxmert/embeddings/word_embeddings/weight:0", ("lxmert.embeddings.word_embeddings.weight", False)),
        (
            "cls/tf_lxmert_for_pre_training_1/lxmert/embeddings/position_embeddings/embeddings:0",
            ("lxmert.embeddings.position_embeddings.weight", False),
        ),
        (
            "lxmert/tf_lxmert_model/lxmert/encoder/x_layers_._11/visual_attention/att/query/kernel:0",
            ("lxmert.encoder.x_layers.11.visual_attention.att.query.weight", True),
        ),
        ("lxmert/lxmert/encoder/visn_fc/visn_fc/kernel:0", ("lxmert.encoder.visn_fc.visn_fc.weight", True)),
        (
            "lxmert/encoder/visn_fc/box_layer_norm/gamma:0",
            ("lxmert.encoder.visn_fc.box_layer_norm.weight", False),
        ),
        ("lxmert/embeddings/LayerNorm/beta:0", ("lxmert.embeddings.LayerNorm.bias", False)),
        ("answer_head/logit_fc_._3/kernel:0", ("answer_head.logit_fc.3.weight", True)),
        ("obj_predict_head/decoder_dict.attr/bias:0", ("obj_predict_head.decoder_dict.attr.bias", False)),
        ("cls/predictions/bias:0", ("cls.predictions.bias", False)),
    ],
)
def test_tensorflow_names_translate_to_pytorch_names(name: str, expected: tuple[str, bool]) -> None:
    assert from_tensorflow(name) == expected


def test_h5_and_safetensors_of_old_class_hold_every_pytorch_tensor(h5_folder: Path) -> None:
    config = LxmertConfig.from_pretrained(GOLDEN / "pretraining_h5")
    own = {name: tensor.shape for name, tensor in LxmertForPreTraining(config).state_dict().items()}
    own.pop("cls.predictions.decoder.weight")  # tied: the word embedding
    for folder in (h5_folder, GOLDEN / "pretraining_safetensors"):
        assert {name: tensor.shape for name, tensor in read_folder(folder).items()} == own
        assert read_folder_shapes(folder) == {name: tuple(shape) for name, shape in own.items()}


def test_h5_and_safetensors_of_old_class_hold_equal_tensors(h5_folder: Path) -> None:
    one, other = read_folder(h5_folder), read_folder(GOLDEN / "pretraining_safetensors")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_safetensors_then_pytorch_file_are_preferred_over_h5(h5_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tf_model.h5").write_bytes((h5_folder / "tf_model.h5").read_bytes())
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert set(read_folder(tmp_path)) == {"a"}
    save_file({"b": torch.ones(2)}, tmp_path / "model.safetensors")
    assert set(read_folder(tmp_path)) == {"b"}


@pytest.mark.parametrize("kept", [0, 7, 500, 0.5, 0.95])
def test_truncated_h5_raises_one_line_weights_error(h5_folder: Path, tmp_path: Path, kept: float) -> None:
    data = (h5_folder / "tf_model.h5").read_bytes()
    (tmp_path / "tf_model.h5").write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    for read in (read_folder, read_folder_shapes):
        with pytest.raises(WeightsError, match=r"tf_model\.h5.*truncated or corrupt") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)


def test_h5_without_arrays_raises_weights_error(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file.create_group("lxmert")
    with pytest.raises(WeightsError, match="contains no weights"):
        read_folder(tmp_path)


def test_h5_external_link_is_not_followed(h5_folder: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file["lxmert"] = h5py.ExternalLink(str(h5_folder / "tf_model.h5"), "/lxmert")
    with pytest.raises(WeightsError, match="contains no weights"):
        read_folder(tmp_path)


def write_external(file: Any, secret: Path) -> None:
    file.create_dataset("lxmert/a/bias:0", (6,), "<f4", external=[(str(secret), 0, 24)])


def write_virtual(file: Any, secret: Path) -> None:
    h5py = pytest.importorskip("h5py")
    layout = h5py.VirtualLayout((6,), "<f4")
    layout[:] = h5py.VirtualSource(str(secret), "secret", (6,))
    file.create_virtual_dataset("lxmert/a/bias:0", layout)


def write_compressed(file: Any, secret: Path) -> None:
    file.create_dataset(
        "lxmert/a/bias:0", (10**6,), "<f4", chunks=(10**6,), compression="gzip", fillvalue=1.0
    )


def write_unallocated_chunks(file: Any, secret: Path) -> None:
    file.create_dataset("lxmert/a/bias:0", (10**12,), "<f4", chunks=(1024,))


def write_unallocated_array(file: Any, secret: Path) -> None:
    file.create_dataset("lxmert/a/bias:0", (10**12,), "<f4")


@pytest.mark.parametrize(
    "write",
    [write_external, write_virtual, write_compressed, write_unallocated_chunks, write_unallocated_array],
)
def test_h5_without_its_own_plain_numbers_is_refused(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = range(6)
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        write(file, tmp_path / "secret.h5")
    for read in (read_folder, read_folder_shapes):
        message = error_message(WeightsError, lambda read=read: read(tmp_path))
        assert "tf_model.h5" in message
        assert "expected plain arrays" in message


def test_missing_h5py_raises_missing_extra_error(h5_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lxmert\[keras\]"'):
        read_folder(h5_folder)

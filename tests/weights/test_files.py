import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from lxmert.errors import WeightsError
from lxmert.weights import files
from lxmert.weights.files import (
    check_config,
    read_folder,
    read_folder_shapes,
    read_pytorch_file,
    write_safetensors,
)

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


class Harmful:
    """Writes a file when unpickled by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def same_tensors(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip format", "legacy format"])
def test_zip_and_legacy_pytorch_formats_are_read(tmp_path: Path, zipped: bool) -> None:
    torch.save(TENSORS, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert same_tensors(read_pytorch_file(tmp_path / "x.pth"), TENSORS)


def test_python_objects_in_a_checkpoint_are_rejected_and_not_run(tmp_path: Path) -> None:
    torch.save({**TENSORS, "config": Harmful(tmp_path / "harmed")}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="refused because reading them can run code"):
        read_pytorch_file(tmp_path / "x.pth")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 7, 60, 300, 0.5, 0.9, 0.99])
def test_truncated_files_raise_weights_error(tmp_path: Path, kept: float, zipped: bool) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(TENSORS, whole, _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(WeightsError, match=r"cut\.pth"):
        read_pytorch_file(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": TENSORS}, "'state_dict' is a dict"),
        ({**TENSORS, "epoch": 3}, "'epoch' is a int"),
        ({1: torch.ones(1)}, "not a flat state dict"),
        ([torch.ones(1)], "contains a list"),
        ({}, "contains nothing"),
        ({"a.weight": torch.eye(2).to_sparse()}, "'a.weight' is a sparse_coo tensor"),
    ],
)
def test_invalid_state_dict_raises_weights_error(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=message):
        read_pytorch_file(tmp_path / "x.pth")


def test_absent_file_and_empty_folder_raise_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no checkpoint file"):
        read_pytorch_file(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"is a folder; .*\(`lxmert convert --to original` makes one"):
        read_pytorch_file(tmp_path)
    with pytest.raises(WeightsError, match="no weights"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "no configuration in"),
        ("{", "cannot read .*config.json"),
        ("[]", "contains a list; expected a JSON object"),
        ('{"model_type": "bert"}', "its model_type is 'bert', expected 'lxmert'"),
        ("{}", "its model_type is None, expected 'lxmert'"),
    ],
)
def test_invalid_config_raises_weights_error(tmp_path: Path, config: str | None, message: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(WeightsError, match=message):
        check_config(tmp_path)


def write_shards(folder: Path, kind: str) -> None:
    names = [f"part-{index}.{kind}" for index in range(2)]
    for name, (key, tensor) in zip(names, TENSORS.items(), strict=True):
        if kind == "safetensors":
            save_file({key: tensor}, folder / name)
        else:
            torch.save({key: tensor}, folder / name)
    index = {"weight_map": dict(zip(TENSORS, names, strict=True))}
    stem = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    (folder / f"{stem}.index.json").write_text(json.dumps(index))


def write_single_file(folder: Path, kind: str) -> None:
    if kind == "safetensors":
        save_file(TENSORS, folder / "model.safetensors")
    else:
        torch.save(TENSORS, folder / "pytorch_model.bin")


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("write", [write_single_file, write_shards])
def test_single_file_and_sharded_folders_are_read(tmp_path: Path, kind: str, write: Any) -> None:
    write(tmp_path, kind)
    assert same_tensors(read_folder(tmp_path), TENSORS)
    assert read_folder_shapes(tmp_path) == {"a.weight": (2, 3), "b": (4,)}


def test_safetensors_are_preferred_over_pytorch_file(tmp_path: Path) -> None:
    write_single_file(tmp_path, "safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"rubbish")
    assert same_tensors(read_folder(tmp_path), TENSORS)


@pytest.mark.parametrize("read", [read_folder, read_folder_shapes])
def test_corrupt_safetensors_raise_weights_error(tmp_path: Path, read: Any) -> None:
    write_single_file(tmp_path, "safetensors")
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(WeightsError, match=r"model\.safetensors.*truncated or corrupt"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "not an index of shards"),
        ("[]", "not an index"),
        ('{"weight_map": {}}', "not an index"),
        ('{"weight_map": {"a": 5}}', "expected JSON with a 'weight_map' to file names"),
        ('{"weight_map": {"a": {}}}', "not an index"),
        ('{"weight_map": {"a": "x.bin", "b": "y.bin"}}', r"x\.bin' is missing, one of the 2 files"),
        ('{"weight_map": {"a": "../x.bin"}}', "points outside its folder"),
    ],
)
def test_bad_shard_indices_raise_weights_error(tmp_path: Path, index: str, message: str) -> None:
    for name in ("pytorch_model.bin", "model.safetensors"):
        (tmp_path / f"{name}.index.json").write_text(index)
        for read in (read_folder, read_folder_shapes):
            with pytest.raises(WeightsError, match=message) as caught:
                read(tmp_path)
            assert "\n" not in str(caught.value)


def test_disk_space_is_advised_only_where_it_lacks(tmp_path: Path) -> None:
    tensors = {"x": torch.zeros(3)}
    for path in (tmp_path, tmp_path / "missing" / "model.safetensors"):
        with pytest.raises(WeightsError, match=r"could not be written \(.*\); check the path$"):
            write_safetensors(tensors, path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_disk_space_is_advised_for_each_of_its_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    text = f"Error while serializing: I/O error: no room (os error {number})"
    error = OSError(number, "no room") if kind is OSError else SafetensorError(text)

    def save_file(*_: object) -> None:
        raise error

    monkeypatch.setattr(files, "save_file", save_file)
    with pytest.raises(WeightsError, match=r"no room.*; free some disk space, or choose another folder$"):
        write_safetensors({"x": torch.zeros(3)}, tmp_path / "model.safetensors")


def test_other_users_may_read_written_weights_as_far_as_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors({"x": torch.zeros(3)}, path)
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode

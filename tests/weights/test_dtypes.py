"""Names of dtypes."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lxmert.weights.dtypes import dtype_name, safetensors_dtype_name
from lxmert.weights.files import read_folder_dtypes


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "int64"])
def test_dtype_name_omits_torch_prefix(name: str) -> None:
    assert dtype_name(getattr(torch, name)) == name


@pytest.mark.parametrize(
    "name",
    ["float64", "float32", "float16", "bfloat16", "int64", "int16", "int8", "uint8", "bool", "complex64"],
)
def test_both_formats_give_the_same_names(tmp_path: Path, name: str) -> None:
    tensors = {"x": torch.ones(3, dtype=getattr(torch, name))}
    for file, save in (("model.safetensors", save_file), ("pytorch_model.bin", torch.save)):
        folder = tmp_path / file
        folder.mkdir()
        save(tensors, folder / file)
        assert read_folder_dtypes(folder) == {"x": name}


def test_small_floats_of_safetensors_are_floats(tmp_path: Path) -> None:
    save_file({"x": torch.ones(3).to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert safetensors_dtype_name(file.get_slice("x").get_dtype()) == "float8_e4m3"

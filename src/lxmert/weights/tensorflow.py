"""Reading the weights of `transformers`' former TensorFlow LXMERT, without TensorFlow.

Source: the files that its `save_pretrained` wrote: `tf_model.h5` (HDF5, one group per part of the model;
weights that two parts share are in both) or safetensors with the metadata "format": "tf".
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lxmert.errors import MissingExtraError, WeightsError, first_line
from lxmert.weights.names import from_tensorflow
from lxmert.weights.shapes import Shape, shapes_of

H5_NAME = "tf_model.h5"


def rename_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename TensorFlow's tensors to our names, transposing kernels to weights."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        key, transposed = from_tensorflow(name)
        renamed[key] = tensor.T.contiguous() if transposed else tensor
    return renamed


def read_h5(path: str | Path) -> dict[str, Tensor]:
    """Read a `tf_model.h5`, our parameter name -> tensor.

    Raises:
        WeightsError: truncated, corrupt, or not a file of weights.
        MissingExtraError: h5py is not installed.
    """
    return rename_tensors(_map_datasets(path, lambda dataset: torch.from_numpy(dataset[()])))


def read_h5_shapes(path: str | Path) -> dict[str, Shape]:
    """Read a `tf_model.h5`, our parameter name -> shape, without the numbers; errors as `read_h5`."""
    return shapes_of(
        rename_tensors(_map_datasets(path, lambda dataset: torch.empty(dataset.shape, device="meta")))
    )


def _map_datasets(path: str | Path, convert: Callable[[Any], Tensor]) -> dict[str, Tensor]:
    """Apply `convert` to each array of the file, by its name in the file."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f'reading {str(path)!r} needs h5py, which is not installed: pip install "lxmert[keras]"'
        ) from error
    tensors: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r") as file:
            names: list[str] = []
            file.visit(names.append)
            for name in names:
                if isinstance(file[name], h5py.Dataset):
                    tensors[name] = convert(file[name])
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(
            f"cannot read {str(path)!r}: truncated or corrupt ({first_line(error)})"
        ) from error
    if not tensors:
        raise WeightsError(f"{str(path)!r} contains no weights; expected a file saved by a TFLxmert class")
    return tensors

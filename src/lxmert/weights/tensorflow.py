"""Reading the weights of `transformers`' former TensorFlow LXMERT, without TensorFlow.

Source: the files that its `save_pretrained` wrote: `tf_model.h5` (HDF5, one group per part of the model;
weights that two parts share are in both) or safetensors with the metadata "format": "tf".
"""

import math
import os
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
        WeightsError: truncated, corrupt, not a file of weights, or without its own uncompressed numbers.
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
    try:
        with h5py.File(path, "r") as file:
            names: list[str] = []  # neither soft nor external links among them
            file.visit(names.append)
            datasets = {name: file[name] for name in names if isinstance(file[name], h5py.Dataset)}
            _check_datasets(path, datasets)
            tensors = {name: convert(dataset) for name, dataset in datasets.items()}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(
            f"cannot read {str(path)!r}: truncated or corrupt ({first_line(error)})"
        ) from error
    if not tensors:
        raise WeightsError(f"{str(path)!r} contains no weights; expected a file saved by a TFLxmert class")
    return tensors


def _check_datasets(path: str | Path, datasets: Mapping[str, Any]) -> None:
    """Raise for arrays that HDF5 would read from other files, or expand beyond the size of the file."""
    from h5py import h5d

    expected = "expected plain arrays without compression, as saved by a TFLxmert class"
    for name, dataset in datasets.items():
        properties = dataset.id.get_create_plist()
        is_plain = properties.get_layout() in (h5d.CONTIGUOUS, h5d.COMPACT) and not dataset.dtype.hasobject
        if not is_plain or properties.get_external_count():
            raise WeightsError(
                f"{str(path)!r} does not contain the numbers of {name!r} as they are; {expected}"
            )
    num_bytes = sum(math.prod(item.shape or ()) * item.dtype.itemsize for item in datasets.values())
    if num_bytes > (size := os.path.getsize(path)):
        raise WeightsError(f"{str(path)!r} has {size} bytes, but arrays of {num_bytes}; {expected}")

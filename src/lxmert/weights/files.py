"""Reading and writing checkpoint files without ever running code that they contain.

Two kinds are read: one PyTorch file (`.pth`, `.bin`; tensors only, arbitrary pickles are refused) and a model
folder (safetensors preferred, else PyTorch, one file or shards with an index; else TensorFlow). Names
and orientation are always those of the PyTorch classes.
"""

import errno
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lxmert.atomic_files import follow_umask
from lxmert.configuration import LxmertConfig
from lxmert.errors import WeightsError, first_line
from lxmert.faults import tensor_layout_fault
from lxmert.weights.dtypes import dtype_name, safetensors_dtype_name
from lxmert.weights.shapes import Shape, shapes_of
from lxmert.weights.tensorflow import H5_NAME, read_h5, read_h5_shapes, rename_tensors

SAFETENSORS_NAME = "model.safetensors"
PYTORCH_NAME = "pytorch_model.bin"
CONFIG_NAME = "config.json"

DETECTOR_MODEL_TYPE = "lxmert_faster_rcnn"
"""`model_type` in the configuration of our own detectors."""
PT_FORMAT = {"format": "pt"}
"""The metadata by which `transformers` recognises safetensors of a PyTorch class."""

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_NO_SPACE_ON_WINDOWS = {39, 112}
"""ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL."""

# Start of PyTorch's message that a file holds more than tensors.
_REFUSED_MESSAGE = "Weights only load failed"

REFUSED_PICKLE = (
    "is damaged, or contains Python objects other than tensors, which are refused because reading them "
    "can run code; save the model's state_dict() alone and try again"
)


def check_config(folder: str | Path) -> None:
    """Refuse a local model folder whose config.json is not one of LXMERT.

    Raises:
        WeightsError: no such file, not a JSON object, or the configuration of another kind of model.
    """
    path = Path(folder) / CONFIG_NAME
    # transformers assumes the default configuration for a local folder without the file.
    if not path.is_file():
        raise WeightsError(f"no configuration in {str(folder)!r}; expected a {CONFIG_NAME}")
    kind = read_config_file(path).get("model_type")
    if kind == DETECTOR_MODEL_TYPE:
        raise WeightsError(
            f"{str(folder)!r} is a detector, expected a model that answers questions; pass it as --detector "
            "to `lxmert ask`, `explain`, `look` or `extract`"
        )
    if kind != "lxmert":
        raise WeightsError(
            f"{str(path)!r} is not an LXMERT configuration: its model_type is {kind!r}, expected 'lxmert'; "
            "use the folder of an LXMERT model"
        )


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a file of settings of any kind of model, such as config.json.

    Raises:
        WeightsError: it cannot be read, or is not a JSON object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"cannot read {str(path)!r}; expected a JSON object") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{str(path)!r} contains {_describe(config)}; expected a JSON object")
    return config


def read_pytorch_file(path: str | Path, *, device: str = "cpu") -> dict[str, Tensor]:
    """Read a PyTorch checkpoint, parameter name -> tensor.

    Args:
        path: the file.
        device: of the tensors; "meta" reads names, shapes and dtypes without the numbers.

    Raises:
        WeightsError: no such file, truncated or corrupt, holds Python objects other than tensors, is not a
            flat state dict, or holds a tensor that is not dense.
    """
    path = Path(path)
    expected = "expected a PyTorch file such as model_LXRT.pth"
    if path.is_dir():
        raise WeightsError(
            f"{str(path)!r} is a folder; {expected} (`lxmert convert --to original` makes one of a model "
            "folder)"
        )
    if not path.is_file():
        raise WeightsError(f"no checkpoint file at {str(path)!r}; {expected}")
    try:
        loaded: Any = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # damaged bytes surface as almost any type, from struct.error to KeyError
        raise WeightsError(_read_error_message(path, error)) from error
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(
            f"{str(path)!r} contains {_describe(loaded)}; expected a state dict of named tensors"
        )
    other_keys = [
        key for key, value in loaded.items() if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if other_keys:
        raise WeightsError(
            f"{str(path)!r} is not a flat state dict: {other_keys[0]!r} is "
            f"{_describe(loaded[other_keys[0]])}, expected a tensor; "
            "save the model's state_dict() alone and try again"
        )
    if device != "meta":
        for name, tensor in loaded.items():
            if fault := tensor_layout_fault(repr(name), tensor):
                raise WeightsError(f"{str(path)!r}: {fault}")
    return dict(loaded)


def _read_error_message(path: Path, error: Exception) -> str:
    if is_refused_pickle(error):
        return f"{str(path)!r} {REFUSED_PICKLE}"
    return f"cannot read {str(path)!r}: truncated, or not a PyTorch checkpoint ({first_line(error)})"


def is_refused_pickle(error: BaseException | None) -> bool:
    """True for PyTorch's refusal to read Python objects, even as the cause of another error."""
    while error is not None:
        if _REFUSED_MESSAGE in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def read_folder(folder: str | Path) -> dict[str, Tensor]:
    """Read a model folder, parameter name -> tensor on the CPU.

    Raises:
        WeightsError: no weights in the folder, or a file that cannot be read.
    """
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(Path(folder)):
        tensors.update(_READERS.get(path.suffix, read_pytorch_file)(path))
    return tensors


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return tensors of the CPU as NumPy arrays; float types that NumPy lacks as float32."""
    return {
        name: (
            tensor if tensor.dtype in _NUMPY_FLOATS or not tensor.is_floating_point() else tensor.float()
        ).numpy()
        for name, tensor in tensors.items()
    }


def check_output_folder(folder: Path) -> None:
    """Refuse an output folder that is a file or inside one.

    Raises:
        WeightsError: it is a file, or inside one.
    """
    file = next((path for path in (folder, *folder.parents) if path.is_file()), None)
    if file is not None:
        raise WeightsError(f"{str(file)!r} is a file; expected a folder to write into")


def write_folder(folder: str | PathLike[str], arrays: Mapping[str, np.ndarray], config: LxmertConfig) -> None:
    """Write config.json and model.safetensors.

    Args:
        folder: created if there is none; files of these names are replaced.
        arrays: state-dict name of a PyTorch class -> values.
        config: the configuration.

    Raises:
        WeightsError: `folder` is a file, or inside one, or cannot be written.
        ConfigurationError: the configuration breaks its rules; nothing was written then.
    """
    folder = Path(folder)
    check_output_folder(folder)
    config.validate()
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors({name: _as_tensor(array) for name, array in arrays.items()}, folder / SAFETENSORS_NAME)
    config.save_pretrained(folder)


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write the tensors of a PyTorch class.

    Raises:
        WeightsError: the file cannot be written, as on a full disk.
    """
    try:
        save_file(tensors, path, PT_FORMAT)
        follow_umask(path)
    except (SafetensorError, OSError) as error:
        advice = "free some disk space, or choose another folder" if _is_no_space(error) else "check the path"
        raise WeightsError(f"{str(path)!r} could not be written ({first_line(error)}); {advice}") from error


def _is_no_space(error: Exception) -> bool:
    """Whether the disk, a quota of it, or the largest size of a file is exhausted."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (stated := _OS_ERROR.search(str(error))):  # that of safetensors, written in Rust
        return int(stated[1]) in (_NO_SPACE_ON_WINDOWS if sys.platform == "win32" else _NO_SPACE)
    return number in _NO_SPACE


def _as_tensor(array: np.ndarray) -> Tensor:
    array = np.array(array, order="C")  # Keras may return read-only views
    if array.dtype.name == "bfloat16":  # from ml_dtypes, which PyTorch does not support
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def read_folder_shapes(folder: str | Path, *, safetensors: bool = True) -> dict[str, Shape]:
    """Read a model folder, parameter name -> shape, without reading the numbers.

    Args:
        folder: the model folder.
        safetensors: False passes over files of this format, as `from_pretrained(use_safetensors=False)` does.

    Raises:
        WeightsError: no weights in the folder, or a file that cannot be read.
    """
    shapes: dict[str, Shape] = {}
    for path in _weight_files(Path(folder), safetensors=safetensors):
        shapes.update(_SHAPE_READERS.get(path.suffix, _pytorch_shapes)(path))
    return shapes


def read_folder_dtypes(folder: str | Path, *, safetensors: bool = True) -> dict[str, str]:
    """Read a model folder, parameter name -> name of the dtype in PyTorch, without reading the numbers.

    Args:
        folder: the model folder; those of TensorFlow are taken for empty.
        safetensors: see `read_folder_shapes`.

    Raises:
        WeightsError: no weights in the folder, or a file that cannot be read.
    """
    dtypes: dict[str, str] = {}
    for path in _weight_files(Path(folder), safetensors=safetensors):
        if path.suffix == ".safetensors":
            with _wrap_read_errors(path), safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    dtypes[name] = safetensors_dtype_name(file.get_slice(name).get_dtype())
        elif path.suffix != ".h5":
            tensors = read_pytorch_file(path, device="meta")
            dtypes |= {name: dtype_name(tensor.dtype) for name, tensor in tensors.items()}
    return dtypes


def _weight_files(folder: Path, *, safetensors: bool = True) -> list[Path]:
    """The files that hold the weights of a folder, safetensors before PyTorch."""
    for name in (SAFETENSORS_NAME, PYTORCH_NAME) if safetensors else (PYTORCH_NAME,):
        if (folder / name).is_file():
            return [folder / name]
        # transformers names the index of model.safetensors "model.safetensors.index.json".
        if (folder / f"{name}.index.json").is_file():
            return [folder / shard for shard in _shards(folder / f"{name}.index.json")]
    if (folder / H5_NAME).is_file():
        return [folder / H5_NAME]
    raise WeightsError(
        f"no weights in {str(folder)!r}; expected {SAFETENSORS_NAME}, {PYTORCH_NAME} (or its shards) or "
        f"{H5_NAME}"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with _wrap_read_errors(path):
        tensors = dict(load_file(path))
    return rename_tensors(tensors) if _is_tensorflow_file(path) else tensors


def _safetensors_shapes(path: Path) -> dict[str, Shape]:
    with _wrap_read_errors(path), safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if not _is_tensorflow_file(path):
        return shapes
    return shapes_of(
        rename_tensors({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    )


def _is_tensorflow_file(path: Path) -> bool:
    with _wrap_read_errors(path), safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("format") == "tf"


def _pytorch_shapes(path: Path) -> dict[str, Shape]:
    return shapes_of(read_pytorch_file(path, device="meta"))


# Files with any other extension are PyTorch's; its reader reports what is wrong with them.
_READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".h5": read_h5,
}
_SHAPE_READERS: Mapping[str, Callable[[Path], dict[str, Shape]]] = {
    ".safetensors": _safetensors_shapes,
    ".h5": read_h5_shapes,
}


@contextmanager
def _wrap_read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"cannot read {str(path)!r}: truncated or corrupt ({first_line(error)})"
        ) from error


def _shards(index: Path) -> list[str]:
    """The shard files that an index names, each inside the index's own folder."""
    malformed = f"{str(index)!r} is not an index of shards: expected JSON with a 'weight_map' to file names"
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(malformed) from error
    if not names or not all(isinstance(name, str) for name in names):
        raise WeightsError(malformed)
    shards = sorted(names)
    outside = [shard for shard in shards if Path(shard).name != shard]
    if outside:
        raise WeightsError(
            f"{str(index)!r} points outside its folder: {outside[0]!r}; expected plain file names"
        )
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing:
        raise WeightsError(
            f"{str(index.parent / missing[0])!r} is missing, one of the {len(shards)} files with weights; "
            "copy or download the folder again"
        )
    return shards


def _describe(value: object) -> str:
    return f"a {type(value).__name__}" if value or not isinstance(value, Mapping) else "nothing"

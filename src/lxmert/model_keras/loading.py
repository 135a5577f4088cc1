"""Reading checkpoints into Keras models: of the PyTorch classes and of the former TensorFlow ones.

The files are read by `lxmert.weights`, which returns every tensor under the name and in the orientation of
the PyTorch classes; here they are assigned to the variables of a model.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from transformers import PreTrainedConfig
from transformers.utils import logging

from lxmert.configuration import LxmertConfig, as_lxmert_config
from lxmert.errors import WeightsError
from lxmert.faults import model_path_fault
from lxmert.weights.dtypes import check_float_weights, check_not_quantized, dtype_name
from lxmert.weights.files import (
    as_arrays,
    check_config,
    read_folder,
)
from lxmert.weights.hub import HUB_ARGUMENTS, hub_folder, is_hub_name
from lxmert.weights.names import canonical_original_name
from lxmert.weights.report import LoadReport
from lxmert.weights.shapes import TIED_DECODER

if TYPE_CHECKING:
    from torch import Tensor

    from lxmert.model_keras.layers import TorchVariable
    from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel

logger = logging.get_logger(__name__)

ModelT = TypeVar("ModelT", bound="TFLxmertPreTrainedModel")

_MODEL_ARGUMENTS = frozenset({"name", "dtype", "torch_dtype", "trainable"})
_FORMATS = frozenset({"from_pt", "from_tf", "use_safetensors"})
"""Arguments that tell `transformers` the format of a folder, which is detected here."""


def load_model(
    model_class: type[ModelT],
    name_or_folder: str | PathLike[str],
    *,
    config: PreTrainedConfig | str | PathLike[str] | None = None,
    **kwargs: Any,
) -> tuple[ModelT, LoadReport]:
    """Make a model and load its weights from a checkpoint.

    Args:
        model_class: one of the TFLxmert classes.
        name_or_folder: a local model folder or a hub name.
        config: the configuration, or its path; None for that of the checkpoint.
        **kwargs: arguments of the model class, of which `dtype` may be "auto" and be called `torch_dtype`;
            of the hub; and configuration values that override the checkpoint's.

    Returns:
        The model and the load report.

    Raises:
        WeightsError: there is no checkpoint, or it cannot be read.
        ConfigurationError: `config` is not the configuration of an LXMERT model.
        TypeError: an unknown argument.
    """
    options = {key: kwargs.pop(key) for key in HUB_ARGUMENTS & kwargs.keys()}
    arguments = {key: kwargs.pop(key) for key in _MODEL_ARGUMENTS & kwargs.keys()}
    overrides = {key: value for key, value in kwargs.items() if key not in _FORMATS}
    folder = _folder(str(name_or_folder), options)
    config = _load_configuration(model_class, folder, config, overrides)
    check_not_quantized(config, str(name_or_folder))
    tensors = read_folder(folder)
    torch_dtype = arguments.pop("torch_dtype", None)
    if torch_dtype is not None:
        arguments.setdefault("dtype", torch_dtype)
    if arguments.get("dtype") == "auto":
        arguments["dtype"] = _checkpoint_dtype(config, tensors)
    model = model_class(config, **arguments)
    return model, assign_arrays(model, as_arrays(tensors), str(name_or_folder))


def assign_arrays(
    model: "TFLxmertPreTrainedModel", arrays: Mapping[str, np.ndarray], source: str
) -> LoadReport:
    """Assign arrays to the variables of a model by their PyTorch names; the others keep their values.

    Args:
        model: changed in place.
        arrays: by name, of a model with or without heads, whichever `model` is.
        source: where they come from, for the report.

    Raises:
        WeightsError: an array that fits is not of floating-point numbers.
    """
    variables = model.torch_variables()
    renamed = _rename_for_model(arrays, variables)
    if model.config.tie_word_embeddings:
        renamed.pop(TIED_DECODER, None)
    report = LoadReport.compare(
        {name: _torch_shape(entry) for name, entry in variables.items()},
        {name: array.shape for name, array in renamed.items()},
        model=type(model).__name__,
        source=source,
    )
    check_float_weights({name: renamed[name].dtype.name for name in report.matched}, source)
    for name in report.matched:
        variable, transposed = variables[name]
        variable.assign(renamed[name].T if transposed else renamed[name])
    return report


def log_report(report: LoadReport) -> None:
    """Log, in one line, what a checkpoint left at random values and which of its tensors were not used."""
    if not report.is_complete:
        logger.warning(
            "%s. Weights that are not matched are random: train the model before use.", report.summary()
        )
    elif report.unexpected:
        logger.warning("%s.", report.summary())


def loading_info(report: LoadReport) -> dict[str, Any]:
    """Return the report in the form of `output_loading_info=True` of `transformers`."""
    return {
        "missing_keys": set(report.missing),
        "unexpected_keys": set(report.unexpected),
        "mismatched_keys": {(name, *shapes) for name, shapes in report.reshaped.items()},
        "error_msgs": [],
    }


def _folder(name: str, options: Mapping[str, Any]) -> Path:
    """Return the local folder of a checkpoint, downloaded if necessary."""
    inner = str(options.get("subfolder") or "")
    if Path(name).is_dir():
        return Path(name) / inner
    if not is_hub_name(name):
        fault = model_path_fault(name)
        raise WeightsError(fault or f"{name}: neither a model folder nor a hub name; check the path")
    return hub_folder(name, options)


def _checkpoint_dtype(config: LxmertConfig, tensors: "Mapping[str, Tensor]") -> str | None:
    """Return the Keras dtype of a checkpoint: that of the configuration, else of its first float tensor."""
    if config.dtype is not None:
        return str(config.dtype).removeprefix("torch.")
    return next((dtype_name(tensor.dtype) for tensor in tensors.values() if tensor.is_floating_point()), None)


def _load_configuration(
    model_class: type[Any],
    folder: Path,
    config: PreTrainedConfig | str | PathLike[str] | None,
    overrides: dict[str, Any],
) -> LxmertConfig:
    """Return the configuration to build from; an unknown override is a TypeError."""
    if isinstance(config, PreTrainedConfig):
        built, unused = as_lxmert_config(config), overrides
    else:
        place = folder if config is None else Path(config)
        if place.is_file():
            place = place.parent
        check_config(place)
        built, unused = model_class.config_class.from_pretrained(
            place, return_unused_kwargs=True, **overrides
        )
    if unused:
        raise TypeError(
            f"{model_class.__name__}.from_pretrained got an unknown argument {next(iter(unused))!r}; "
            f"expected values of LxmertConfig (where config is None), {', '.join(sorted(_MODEL_ARGUMENTS))}, "
            f"{', '.join(sorted(HUB_ARGUMENTS))}"
        )
    return built


def _rename_for_model(
    arrays: Mapping[str, np.ndarray], variables: Mapping[str, "TorchVariable"]
) -> dict[str, np.ndarray]:
    """Rename arrays to the names of this model, which with and without heads differ by a prefix.

    Parameters of LayerNorm may have the names that the first TensorFlow BERT gave them, and any name may hold
    the "module." of data parallelism, at its start or further in, which the PyTorch classes do not accept.
    """
    prefix = "lxmert."
    has_prefix = any(name.startswith(prefix) for name in variables)

    def rename(name: str) -> str:
        if not has_prefix:
            return name.removeprefix(prefix)
        return f"{prefix}{name}" if f"{prefix}{name}" in variables else name

    renamed = {}
    for name, array in arrays.items():
        canonical = rename(canonical_original_name(name))
        renamed[canonical if canonical in variables else rename(name)] = array
    return renamed


def _torch_shape(entry: "TorchVariable") -> tuple[int, ...]:
    shape = tuple(entry.variable.shape)
    return shape[::-1] if entry.transposed else shape

"""Reading checkpoints into Keras models: of the PyTorch classes and of the former TensorFlow ones.

The files are read by `lxmert.weights`, which gives every tensor the name and the orientation of the PyTorch
classes; here they are fitted to a model and to its variables.
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
from lxmert.weights.files import check_config, read_folder_arrays
from lxmert.weights.hub import HUB_ARGUMENTS, hub_folder, is_hub_name
from lxmert.weights.report import LoadReport
from lxmert.weights.shapes import TIED_DECODER

if TYPE_CHECKING:
    from lxmert.model_keras.layers import TorchVariable
    from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel

logger = logging.get_logger(__name__)

ModelT = TypeVar("ModelT", bound="TFLxmertPreTrainedModel")

_MODEL_ARGUMENTS = frozenset({"name", "dtype", "torch_dtype", "trainable"})
_FORMATS = frozenset({"from_pt", "from_tf", "use_safetensors"})
"""Arguments by which `transformers` is told what lies in a folder; here the files tell."""


def load_model(
    model_class: type[ModelT],
    name_or_folder: str | PathLike[str],
    *,
    config: PreTrainedConfig | str | PathLike[str] | None = None,
    **kwargs: Any,
) -> tuple[ModelT, LoadReport]:
    """Make a model and fill what the checkpoint has of it.

    Args:
        model_class: one of the TFLxmert classes.
        name_or_folder: a local model folder or a hub name.
        config: the configuration, or where it lies; None takes that of the checkpoint.
        **kwargs: arguments of the model class, among which `dtype` may be "auto" and be called `torch_dtype`;
            of the hub; and configuration values that override the checkpoint's.

    Returns:
        The model, and what was filled.

    Raises:
        WeightsError: there is no checkpoint, or it cannot be read.
        ConfigurationError: `config` is none of LXMERT.
        TypeError: an argument is none of these.
    """
    options = {key: kwargs.pop(key) for key in HUB_ARGUMENTS & kwargs.keys()}
    arguments = {key: kwargs.pop(key) for key in _MODEL_ARGUMENTS & kwargs.keys()}
    overrides = {key: value for key, value in kwargs.items() if key not in _FORMATS}
    folder = _folder(str(name_or_folder), options)
    config = _configuration(model_class, folder, config, overrides)
    arrays = read_folder_arrays(folder)
    under_former_name = arguments.pop("torch_dtype", None)
    if under_former_name is not None:
        arguments.setdefault("dtype", under_former_name)
    if arguments.get("dtype") == "auto":
        arguments["dtype"] = _precision(config, arrays)
    model = model_class(config, **arguments)
    return model, fill(model, arrays, str(name_or_folder))


def fill(model: "TFLxmertPreTrainedModel", arrays: Mapping[str, np.ndarray], source: str) -> LoadReport:
    """Give the variables of a model the arrays under their PyTorch names; the rest keeps its values.

    Args:
        model: changed in place.
        arrays: name -> array, of a model with heads or without, whichever the model is.
        source: where they come from, for the report.
    """
    variables = model.torch_variables()
    found = _fitting(arrays, variables)
    if model.config.tie_word_embeddings:
        found.pop(TIED_DECODER, None)
    report = LoadReport.compare(
        {name: _torch_shape(entry) for name, entry in variables.items()},
        {name: array.shape for name, array in found.items()},
        model=type(model).__name__,
        source=source,
    )
    for name in report.matched:
        variable, transposed = variables[name]
        variable.assign(found[name].T if transposed else found[name])
    return report


def announce(report: LoadReport) -> None:
    """Log, in one line, what a checkpoint left at random values and what of it was not used."""
    if not report.complete:
        logger.warning("%s. What is not matched is random: train the model before use.", report.summary())
    elif report.unexpected:
        logger.warning("%s.", report.summary())


def loading_info(report: LoadReport) -> dict[str, Any]:
    """The report in the form of `output_loading_info=True` of `transformers`."""
    return {
        "missing_keys": set(report.missing),
        "unexpected_keys": set(report.unexpected),
        "mismatched_keys": {(name, *shapes) for name, shapes in report.reshaped.items()},
        "error_msgs": [],
    }


def _folder(name: str, options: Mapping[str, Any]) -> Path:
    """The local folder of a checkpoint, fetched where need be."""
    inner = str(options.get("subfolder") or "")
    if Path(name).is_dir():
        return Path(name) / inner
    if not is_hub_name(name):
        raise WeightsError(f"{name}: no such model folder, and no name of the hub either; check the path")
    return hub_folder(name, options)


def _precision(config: LxmertConfig, arrays: Mapping[str, np.ndarray]) -> str | None:
    """The Keras dtype of a checkpoint: what the configuration says, else of its first array of numbers."""
    if config.dtype is not None:
        return str(config.dtype).removeprefix("torch.")
    return next((array.dtype.name for array in arrays.values() if array.dtype.kind == "f"), None)


def _configuration(
    model_class: type[Any],
    folder: Path,
    config: PreTrainedConfig | str | PathLike[str] | None,
    overrides: dict[str, Any],
) -> LxmertConfig:
    """The configuration to build from; an override that it does not know is a TypeError."""
    if isinstance(config, PreTrainedConfig):
        made, unused = as_lxmert_config(config), overrides
    else:
        place = folder if config is None else Path(config)
        if place.is_file():
            place = place.parent
        check_config(place)
        made, unused = model_class.config_class.from_pretrained(place, return_unused_kwargs=True, **overrides)
    if unused:
        raise TypeError(
            f"{model_class.__name__}.from_pretrained got an unknown argument {next(iter(unused))!r}; "
            f"expected values of LxmertConfig (where config is None), {', '.join(sorted(_MODEL_ARGUMENTS))}, "
            f"{', '.join(sorted(HUB_ARGUMENTS))}"
        )
    return made


def _fitting(
    arrays: Mapping[str, np.ndarray], variables: Mapping[str, "TorchVariable"]
) -> dict[str, np.ndarray]:
    """Arrays under the names of this model: those without heads and with heads differ by a prefix."""
    prefix = "lxmert."
    if not any(name.startswith(prefix) for name in variables):
        return {name.removeprefix(prefix): array for name, array in arrays.items()}
    return {
        f"{prefix}{name}" if f"{prefix}{name}" in variables else name: array for name, array in arrays.items()
    }


def _torch_shape(entry: "TorchVariable") -> tuple[int, ...]:
    shape = tuple(entry.variable.shape)
    return shape[::-1] if entry.transposed else shape

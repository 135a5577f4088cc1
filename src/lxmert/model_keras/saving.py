"""Writing Keras models: as model folders that the PyTorch classes read, and for serving."""

import copy
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lxmert.errors import ConfigurationError
from lxmert.weights.files import write_folder

if TYPE_CHECKING:
    from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel


_IGNORED_OPTIONS = frozenset({"create_pr", "max_shard_size", "token", "version"})
"""Options of `save_pretrained` in `transformers` that do not apply to one file in a local folder."""
_UNSUPPORTED_OPTIONS = {
    "push_to_hub": "upload the folder to the hub with huggingface_hub's upload_folder",
    "saved_model": "export() writes a SavedModel",
    "signatures": "export() takes a signature, and writes a SavedModel",
    "variant": "save each variant to a folder of its own",
}
"""Options of `transformers` for what is done by other means here."""


def reject_options(options: Mapping[str, Any]) -> None:
    """Refuse options of `save_pretrained` in `transformers`, except for those that have no effect here.

    Raises:
        ConfigurationError: an option asks for something that `save_pretrained` does not do.
        TypeError: an unknown option.
    """
    for name, value in options.items():
        if name == "safe_serialization":
            if not value:
                raise ConfigurationError("safe_serialization=False: only safetensors are written; omit it")
        elif name in _UNSUPPORTED_OPTIONS:
            if value:
                raise ConfigurationError(
                    f"{name}={value!r} is not supported by save_pretrained: {_UNSUPPORTED_OPTIONS[name]}"
                )
        elif name not in _IGNORED_OPTIONS:
            raise TypeError(f"save_pretrained got an unknown argument {name!r}")


def save_model(model: "TFLxmertPreTrainedModel", folder: str | PathLike[str]) -> None:
    """Write config.json and model.safetensors under the names of the PyTorch class."""
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__.removeprefix("TF")]
    config.dtype = model.variable_dtype
    write_folder(folder, torch_arrays(model), config)


def torch_arrays(model: "TFLxmertPreTrainedModel") -> dict[str, np.ndarray]:
    """Return values by state-dict name of the PyTorch class, in its orientation, without a tied decoder."""
    arrays = {}
    for name, (variable, transposed) in model.torch_variables().items():
        values = keras.ops.convert_to_numpy(variable)
        arrays[name] = values.T if transposed else values
    return arrays


def serving_signature(model: "TFLxmertPreTrainedModel") -> list[dict[str, keras.InputSpec]]:
    """Return the inputs of an exported model as one dictionary; None is a free axis.

    Inputs that the `call` of a user's class does not name are left out.
    """
    objects = (None, *model.image_axes, None)
    integers: dict[str, tuple[int | None, ...]] = {"visual_attention_mask": objects}
    integers |= dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (None, None))
    numbers = {
        "visual_feats": (*objects, model.config.visual_feat_dim),
        "visual_pos": (*objects, model.config.visual_pos_dim),
    }
    specs = {name: keras.InputSpec(dtype="int32", shape=shape) for name, shape in integers.items()}
    specs |= {name: keras.InputSpec(dtype="float32", shape=shape) for name, shape in numbers.items()}
    known = model.argument_names() if model.takes_named_inputs() else list(specs)
    return [{name: spec for name, spec in specs.items() if name in known}]

"""Writing Keras models: as model folders that the PyTorch classes read, and for serving."""

from os import PathLike
from typing import TYPE_CHECKING

import keras
import numpy as np

from lxmert.configuration import LxmertConfig
from lxmert.weights.files import write_folder

if TYPE_CHECKING:
    from lxmert.model_keras.pretrained import TFLxmertPreTrainedModel


def save_model(model: "TFLxmertPreTrainedModel", folder: str | PathLike[str]) -> None:
    """Write config.json and model.safetensors under the names of the PyTorch class."""
    config = LxmertConfig.from_dict(model.config.to_dict())
    config.architectures = [type(model).__name__.removeprefix("TF")]
    config.dtype = model.variable_dtype
    write_folder(folder, torch_arrays(model), config)


def torch_arrays(model: "TFLxmertPreTrainedModel") -> dict[str, np.ndarray]:
    """State-dict name of the PyTorch class -> values in its orientation; the tied decoder is left out."""
    arrays = {}
    for name, (variable, transposed) in model.torch_variables().items():
        values = keras.ops.convert_to_numpy(variable)
        arrays[name] = values.T if transposed else values
    return arrays


def serving_signature(model: "TFLxmertPreTrainedModel") -> list[dict[str, keras.InputSpec]]:
    """All inputs that an exported model takes, as one dictionary; None is a free axis."""
    objects = (None, *model.image_axes, None)
    integers: dict[str, tuple[int | None, ...]] = {"visual_attention_mask": objects}
    integers |= dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (None, None))
    numbers = {
        "visual_feats": (*objects, model.config.visual_feat_dim),
        "visual_pos": (*objects, model.config.visual_pos_dim),
    }
    specs = {name: keras.InputSpec(dtype="int32", shape=shape) for name, shape in integers.items()}
    return [specs | {name: keras.InputSpec(dtype="float32", shape=shape) for name, shape in numbers.items()}]

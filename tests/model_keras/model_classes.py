"""PyTorch and Keras models of every class, chosen by the end of its name, and batches for them."""

from typing import Any

import keras
import numpy as np
import torch

import lxmert
from tests.model.small import inputs, small_config

CLASSES = ["Model", "ForPreTraining", "ForQuestionAnswering", "ForVisualReasoning"]


def torch_class(kind: str) -> Any:
    return getattr(lxmert, f"Lxmert{kind}")


def keras_class(kind: str) -> Any:
    return getattr(lxmert, f"TFLxmert{kind}")


def with_random_weights(kind: str, **changes: Any) -> Any:
    """A PyTorch model of whose tensors no two are alike: fresh biases are all 0."""
    model = torch_class(kind)(small_config(l_layers=1, x_layers=1, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model


def batch(kind: str) -> dict[str, np.ndarray]:
    arrays = {name: tensor.numpy() for name, tensor in inputs().items()}
    if kind == "ForVisualReasoning":
        for name in ("visual_feats", "visual_pos", "visual_attention_mask"):
            arrays[name] = np.stack([arrays[name], arrays[name][::-1]], axis=1)
    return arrays


def scores(output: Any) -> np.ndarray:
    """The last of the plain outputs, as far from the inputs as there is one."""
    return np.asarray(keras.ops.convert_to_numpy(list(output.values())[-1]))


def arrays_of(model: Any) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(keras.ops.convert_to_numpy(variable))
        for name, (variable, _) in model.torch_variables().items()
    }

"""The activations that `hidden_act` may name, in Keras; formulas as in PyTorch and `transformers`.

Sources: GELU Hendrycks & Gimpel 2016 (arXiv 1606.08415), with the exact and the tanh form; Mish Misra 2019;
squared ReLU So et al. 2021 (arXiv 2109.08668); Laplace and square-root softplus as `transformers` names them.
"""

import math
from collections.abc import Callable
from typing import Any

from keras import activations, ops

from lxmert.errors import ConfigurationError

Activation = Callable[[Any], Any]


def _tanh_gelu(x: Any) -> Any:
    return activations.gelu(x, approximate=True)


def _quick_gelu(x: Any) -> Any:
    return x * ops.sigmoid(1.702 * x)


def _clipped_gelu(x: Any) -> Any:
    return ops.clip(activations.gelu(x), -10.0, 10.0)


def _laplace(x: Any) -> Any:
    mean, deviation = 0.707107, 0.282095
    return 0.5 * (1.0 + ops.erf((x - mean) / (deviation * math.sqrt(2.0))))


_ACTIVATIONS: dict[str, Activation] = {
    "gelu": activations.gelu,
    "gelu_python": activations.gelu,
    "gelu_10": _clipped_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_accurate": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "gelu_python_tanh": _tanh_gelu,
    "quick_gelu": _quick_gelu,
    "hardswish": activations.hard_silu,
    "laplace": _laplace,
    "leaky_relu": lambda x: activations.leaky_relu(x, negative_slope=0.01),
    "linear": activations.linear,
    "mish": activations.mish,
    "relu": activations.relu,
    "relu2": lambda x: ops.square(ops.relu(x)),
    "relu6": activations.relu6,
    "sigmoid": activations.sigmoid,
    "silu": activations.silu,
    "swish": activations.silu,
    "tanh": activations.tanh,
}


def activation(name: str) -> Activation:
    """Return the function named by `hidden_act`.

    Raises:
        ConfigurationError: the Keras models lack it: one with weights of its own, or a new one.
    """
    if name not in _ACTIVATIONS:
        raise ConfigurationError(
            f"hidden_act {name!r} is not available in the Keras models: use one of {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]

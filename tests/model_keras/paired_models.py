"""Pairs of a PyTorch and a Keras model with equal weights, and comparison of their results."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import torch

from lxmert import model, model_keras
from lxmert.configuration import LxmertConfig
from tests.model.small import small_config


def as_numpy(value: Any) -> Any:
    """Tensors of torch as arrays, within dictionaries and tuples too."""
    if isinstance(value, Mapping):
        return {name: as_numpy(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return tuple(as_numpy(inner) for inner in value)
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def copy_weights(source: torch.nn.Module, target: Any) -> None:
    weights = source.state_dict()
    for name, (variable, transposed) in target.torch_variables().items():
        array = weights[name].detach().numpy()
        variable.assign(array.T if transposed else array)


def spread_weights(module: torch.nn.Module, hidden: int) -> None:
    """Make weights larger and biases and norms other than 0 and 1, so that nothing cancels.

    Sums over a wide layer grow by themselves: there rounding would grow with them from layer to layer.
    """
    is_narrow = hidden < 100
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(3.0 if is_narrow else 1.0).add_(
                (0.05 if is_narrow else 0.01) * torch.randn_like(weight)
            )


def pair(name: str, config: LxmertConfig | None = None, **kwargs: Any) -> tuple[Any, Any]:
    """The class `name` of the PyTorch half, and its counterpart with the same weights."""
    config = config or small_config()
    ours = getattr(model, name)(config).eval()
    # PyTorch's fused attention gives wrong gradients, though right values, where all words are hidden.
    ours.set_attn_implementation("eager")
    spread_weights(ours, config.hidden_size)
    keras_model = getattr(model_keras, f"TF{name}")(config, **kwargs)
    copy_weights(ours, keras_model)
    return ours, keras_model


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name in value:
            yield from leaves(value[name], f"{path}.{name}")
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def assert_same_outputs(expected: Any, found: Any, tolerance: float = 1e-5) -> None:
    """Every value within `tolerance`, absolute or relative; the same names in the same order."""
    wanted = list(leaves(as_numpy(dict(expected))))
    given = list(leaves(dict(found)))
    assert [path for path, _ in given] == [path for path, _ in wanted]
    for (path, left), (_, right) in zip(wanted, given, strict=True):
        right = keras.ops.convert_to_numpy(right)
        assert right.shape == left.shape, path
        np.testing.assert_allclose(right, left, rtol=tolerance, atol=tolerance, err_msg=path)


def gradients(keras_model: Any, arguments: Mapping[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
    """The loss and its gradients by PyTorch name, in PyTorch's orientation, by the way of each backend."""
    named = keras_model.torch_variables()
    variables = [entry.variable for entry in named.values()]
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = keras_model(arguments).loss
        found = tape.gradient(loss, [variable.value for variable in variables])
        found = [
            tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(found, variables, strict=True)
        ]
    elif backend == "jax":
        import jax

        trained = keras_model.trainable_variables
        rest = [variable.value for variable in keras_model.non_trainable_variables]

        def run(values: Any) -> Any:
            return keras_model.stateless_call(values, rest, arguments)[0].loss

        # Compiled as a whole: without `jit` each of its hundreds of operations is compiled on its own.
        loss, by_variable = jax.jit(jax.value_and_grad(run))([variable.value for variable in trained])
        order = {id(variable): gradient for variable, gradient in zip(trained, by_variable, strict=True)}
        found = [order[id(variable)] for variable in variables]
    else:
        keras_model.zero_grad()
        loss = keras_model(arguments).loss
        loss.backward()
        found = [
            torch.zeros_like(variable.value) if variable.value.grad is None else variable.value.grad
            for variable in variables
        ]
    arrays = [keras.ops.convert_to_numpy(gradient) for gradient in found]
    return float(keras.ops.convert_to_numpy(loss)), {
        name: array.T if entry.transposed else array
        for (name, entry), array in zip(named.items(), arrays, strict=True)
    }

"""`fit`, `evaluate` and `predict` of the Keras models, which check their arguments.

Source: the methods of `keras.Model` in Keras 3.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import keras

from lxmert.errors import TensorError
from lxmert.model_keras.checked_data import CheckedData, RestoreOnErrorMixin, are_arrays
from lxmert.model_keras.internal_loss import InternalLossMixin


class TrainingMixin(RestoreOnErrorMixin, InternalLossMixin):
    """The training part of a model; must precede `keras.Model` among the bases."""

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.fit`; arrays are checked before anything is compiled, other data batch by batch.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value; or weights of examples
                or classes with the model's own loss.
        """
        arguments = _by_name("fit", x, y, *args, **kwargs)
        self._reject_weights(arguments.get("sample_weight"), arguments.get("class_weight"))
        with ExitStack() as stack:
            stack.enter_context(self._restore_on_error())
            if arguments.get("validation_data") is not None:
                names = ("x", "y", "sample_weight")
                parts = keras.utils.unpack_x_y_sample_weight(arguments["validation_data"])
                self._reject_weights(parts[2])
                held_out = self._check_or_wrap(stack, dict(zip(names, parts, strict=True)))
                arguments["validation_data"] = tuple(held_out[name] for name in names)
            arguments.setdefault("shuffle", True)
            return super().fit(**self._check_or_wrap(stack, arguments))  # type: ignore[misc]

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.evaluate`; checks like `fit`. `return_dict=True` adds the losses of tasks."""
        if "_use_cached_eval_dataset" in kwargs:  # the validation data of `fit`, which are already checked
            return super().evaluate(x, y, *args, **kwargs)  # type: ignore[misc]
        arguments = _by_name("evaluate", x, y, *args, **kwargs)
        self._reject_weights(arguments.get("sample_weight"))
        wants_names = arguments.pop("return_dict", False)
        with ExitStack() as stack:
            stack.enter_context(self._restore_on_error())
            results = super().evaluate(**self._check_or_wrap(stack, arguments), return_dict=True)  # type: ignore[misc]
        return self._as_requested(results, wants_names)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.predict`; checks like `fit`."""
        arguments = _by_name("predict", x, *args, **kwargs)
        with ExitStack() as stack:
            stack.enter_context(self._restore_on_error())
            return super().predict(**self._check_or_wrap(stack, arguments, self._check_inputs))  # type: ignore[misc]

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.train_on_batch`; checks before anything is compiled."""
        self._check_batch((x, y, None))
        arguments = _with_plain_mappings(_by_name("train_on_batch", x, y, *args, **kwargs))
        self._reject_weights(arguments.get("sample_weight"), arguments.get("class_weight"))
        wants_names = arguments.pop("return_dict", False)
        results = super().train_on_batch(**arguments, return_dict=True)  # type: ignore[misc]
        return self._as_requested(results, wants_names)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.test_on_batch`; checks before anything is compiled."""
        self._check_batch((x, y, None))
        arguments = _with_plain_mappings(_by_name("test_on_batch", x, y, *args, **kwargs))
        self._reject_weights(arguments.get("sample_weight"))
        wants_names = arguments.pop("return_dict", False)
        results = super().test_on_batch(**arguments, return_dict=True)  # type: ignore[misc]
        return self._as_requested(results, wants_names)

    def predict_on_batch(self, x: Any) -> Any:
        """See `keras.Model.predict_on_batch`; checks before anything is compiled."""
        self._check_inputs((x,))
        return super().predict_on_batch(**_with_plain_mappings({"x": x}))  # type: ignore[misc]

    def _as_requested(self, results: Mapping[str, Any], wants_names: bool) -> Any:
        """Return the results; without names only the loss and those of `compile`, in the order of Keras."""
        if wants_names:
            return results
        tasks = {tracker.name for tracker in self._task_losses}
        # The metrics of `compile` are held by one metric.
        single = (part for metric in self.metrics for part in getattr(metric, "metrics", (metric,)))
        order = dict.fromkeys([part.name for part in single] + sorted(results))
        values = [results[name] for name in order if name in results and name not in tasks]
        return values[0] if len(values) == 1 else values

    def _check_or_wrap(
        self, stack: ExitStack, arguments: dict[str, Any], check: Callable[[Any], None] | None = None
    ) -> dict[str, Any]:
        """Check arrays at once; wrap other data to be checked batch by batch. Returns the arguments."""
        check = check or self._check_batch
        x = arguments["x"]
        if are_arrays(x):
            _reject_options(x)
            if x is not None:
                check((x, arguments.get("y"), None))
            return _with_plain_mappings(arguments)
        if isinstance(x, CheckedData) or arguments.get("validation_split"):
            return arguments
        data = CheckedData(
            check,
            x,
            **{
                name: arguments.pop(name)
                for name in ("y", "sample_weight", "class_weight")
                if arguments.get(name) is not None
            },
            # Keras warns if it has no effect.
            shuffle=arguments.get("shuffle", False) and isinstance(x, keras.utils.PyDataset),
        )
        stack.enter_context(data.unwrapped_errors())
        return arguments | {"x": data}

    def _check_batch(self, data: Any) -> None:
        """Check inputs and targets."""
        if self.takes_named_inputs():
            self.check(self._with_labels_as_inputs(data)[0])

    def _check_inputs(self, data: Any) -> None:
        """Check the inputs alone."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if self.takes_named_inputs():
            self.check(self.arguments_by_name((x,), {}))


def _by_name(method: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a method of `keras.Model` by name."""
    arguments = inspect.signature(getattr(keras.Model, method)).bind(None, *args, **kwargs).arguments
    return {name: value for name, value in arguments.items() if name != "self"}


def _reject_options(x: Any) -> None:
    """Raise a TensorError for an option, such as `output_attentions=True`, among inputs to be batched."""
    if isinstance(x, Mapping):
        for name, value in x.items():
            if isinstance(value, bool):
                raise TensorError(
                    f"{name} is {value}, but fit, evaluate and predict take tensors alone, to cut them into "
                    "batches: set it in the configuration, or call the model"
                )


def _with_plain_mappings(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with `x` and `y` of a processor or tokenizer as the dictionaries Keras needs."""
    return arguments | {
        name: dict(value)
        for name, value in arguments.items()
        if name in ("x", "y") and isinstance(value, Mapping)
    }

"""Inputs of the Keras models: all forms that Keras users may pass are converted to keywords here.

Accepted: keywords; positional arguments in the order of `call`; a list or tuple in that order (None for
missing ones); a dictionary by name ("inputs" means input_ids); any of these with additional keywords. Tensors
may be those of the backend, NumPy arrays, or symbolic (`keras.Input`).

A user's class whose `call` has no `input_ids`, such as the common `call(self, inputs, training=False)`, gets
its inputs unchanged.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from lxmert.errors import TensorError
from lxmert.faults import raise_unknown_arguments


class FlexibleInputs:
    """Unpacks and checks the inputs of a model; must precede `keras.Model` among the bases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Keras would round all inputs to the precision of the model, even labels and loss weights.
        self.autocast = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model, on inputs in any of the accepted forms.

        Raises:
            TensorError: an input is missing, given twice, or has a wrong shape, dtype or value.
            TypeError: an input that the model does not have.
        """
        if not self.takes_named_inputs():
            return super().__call__(*args, **kwargs)  # type: ignore[misc]
        arguments = self.arguments_by_name(args, kwargs)
        self.check(arguments)
        return super().__call__(**arguments)  # type: ignore[misc]

    def stateless_call(
        self,
        trainable_variables: list[Any],
        non_trainable_variables: list[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> Any:
        """See `keras.Model.stateless_call`; takes inputs in any of the accepted forms."""
        state = (trainable_variables, non_trainable_variables)
        if self.takes_named_inputs():
            args, kwargs = (), self.arguments_by_name(args, kwargs)
            self.check(kwargs)
        return super().stateless_call(*state, *args, return_losses=return_losses, **kwargs)  # type: ignore[misc]

    @classmethod
    def argument_names(cls) -> list[str]:
        """Return the names of the arguments of `call`, in order."""
        return [name for name in inspect.signature(cls.call).parameters if name != "self"]  # type: ignore[attr-defined]

    @classmethod
    def takes_named_inputs(cls) -> bool:
        """Whether `call` has an argument for each input; otherwise inputs are passed to it unchanged."""
        return "input_ids" in cls.argument_names()

    def arguments_by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given arguments by their names in `call`, omitting None.

        Raises:
            TensorError: too many positional arguments, or an argument given twice.
            TypeError: an unknown name.
        """
        names = self.argument_names()
        found: list[tuple[str, Any]] = []
        for structure in ([kwargs["inputs"]] if "inputs" in kwargs else []) + list(args[:1]):
            if isinstance(structure, Mapping):
                found += structure.items()
            elif isinstance(structure, list | tuple):
                found += self._by_position(structure, names)
            else:
                found.append((names[0], structure))
        found += self._by_position((None, *args[1:]), names)
        found += [(name, value) for name, value in kwargs.items() if name != "inputs"]
        arguments: dict[str, Any] = {}
        for name, value in found:
            name = names[0] if name == "inputs" else name
            if value is None:
                continue
            if name in arguments:
                raise TensorError(f"{name} is given twice to {type(self).__name__}: pass it once")
            arguments[name] = value
        unknown = {name: value for name, value in arguments.items() if name not in names}
        if unknown:
            raise_unknown_arguments(type(self).__name__, unknown, names)
        return arguments

    def _by_position(self, values: tuple[Any, ...] | list[Any], names: list[str]) -> list[tuple[str, Any]]:
        if len(values) > len(names):
            raise TensorError(
                f"{type(self).__name__} got {len(values)} inputs by position, expected at most {len(names)}: "
                f"{', '.join(names)}"
            )
        return list(zip(names, values, strict=False))

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Check the inputs, by name; values only where they can be read without running the model.

        The base class checks nothing: a user's class has inputs of its own, and the model inside it checks.

        Raises:
            TensorError: an input is missing, or has a wrong shape, dtype or value.
        """

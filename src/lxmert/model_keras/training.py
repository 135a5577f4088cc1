"""How the Keras models take part in `compile`, `fit`, `evaluate` and `predict`.

A model with labels computes its own loss: labels lie among the inputs,
`fit({"input_ids": ..., "labels": ...})`, or are given beside them, `fit(inputs, labels)`. A loss given to
`compile` replaces it; then it and its targets go by the names of the scores,
`compile(loss={"question_answering_score": ...})`.

Source: the training steps of Keras 3; those of JAX take and return state besides the data.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import keras

from lxmert.errors import TensorError
from lxmert.model_keras.inputs import FlexibleInputs


class Trainable(FlexibleInputs):
    """The training part of a model; stands before `keras.Model` among the bases."""

    label_names: ClassVar[tuple[str, ...]] = ()
    """Inputs that are targets of the internal loss."""
    label_of_score: ClassVar[Mapping[str, str]] = {}
    """Score among the outputs -> its label among the inputs."""

    train_function: Any
    test_function: Any
    predict_function: Any

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of `compile`, or the model's own, and what layers and regularisers add.

        Raises:
            TensorError: no labels, or sample weights with the model's own loss.
        """
        if self._compile_loss is not None:  # type: ignore[attr-defined]
            scores = self._scores(y_pred, y)
            return super().compute_loss(x, y, scores, sample_weight, training)  # type: ignore[misc]
        if sample_weight is not None:
            raise TensorError(
                f"{type(self).__name__} has no use for sample or class weights in its own loss: give a loss "
                "to compile(), or leave the examples out by the label -100"
            )
        loss = y_pred.get("loss") if isinstance(y_pred, Mapping) else None
        if loss is None:
            raise TensorError(f"there is nothing to learn: {self._what_to_give()}")
        return sum((self._aggregate_additional_loss(more) for more in self.losses), start=loss)  # type: ignore[attr-defined]

    def _what_to_give(self) -> str:
        if not self.label_names:
            return f"{type(self).__name__} has no loss of its own, give one to compile()"
        names = ", ".join(self.label_names)
        return f"give one of {names} among the inputs, or a loss to compile()"

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The metrics of `compile`, of labels and scores; labels among the inputs are found by themselves."""
        if self._compile_metrics is None:  # type: ignore[attr-defined]
            return self.get_metrics_result()  # type: ignore[attr-defined]
        if y is None:
            inputs = self.arguments_by_name((x,), {})
            y = {score: inputs[name] for score, name in self.label_of_score.items() if name in inputs}
            if len(self.label_of_score) == 1 and not isinstance(self._compile_metrics._user_metrics, dict):  # type: ignore[attr-defined]
                y = next(iter(y.values()), None)
        return super().compute_metrics(x, y, self._scores(y_pred, y), sample_weight)  # type: ignore[misc]

    def _scores(self, y_pred: Any, y: Any) -> Any:
        """The outputs that have a target, in the form of the targets."""
        if not isinstance(y_pred, Mapping):
            raise TensorError(f"{type(self).__name__} returns a tuple: training needs return_dict=True")
        if isinstance(y, Mapping):
            missing = [name for name in y if name not in y_pred]
            if missing:
                raise TensorError(f"targets {missing} name no output, known are {list(y_pred)}")
            return {name: y_pred[name] for name in y}
        if len(self.label_of_score) != 1:
            raise TensorError(
                f"{type(self).__name__} has several outputs: give targets and losses as dictionaries by the "
                f"name of the output, such as {next(iter(self.label_of_score), 'pooled_output')!r}"
            )
        return y_pred[next(iter(self.label_of_score))]

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.fit`; arrays are checked before anything is compiled."""
        self._check_arrays(x, y)
        validation = kwargs.get("validation_data")
        if isinstance(validation, tuple | list):
            self._check_arrays(*validation[:2])
        return super().fit(x, y, *args, **kwargs)  # type: ignore[misc]

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.evaluate`; arrays are checked before anything is compiled."""
        self._check_arrays(x, y)
        return super().evaluate(x, y, *args, **kwargs)  # type: ignore[misc]

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """See `keras.Model.predict`; arrays are checked before anything is compiled."""
        self._check_arrays(x)
        return super().predict(x, *args, **kwargs)  # type: ignore[misc]

    def _check_arrays(self, x: Any, y: Any = None) -> None:
        """Check all inputs at once where they are arrays; a data set is checked batch by batch, if at all."""
        if not (isinstance(x, Mapping | list | tuple) or hasattr(x, "dtype")):
            return
        inputs, _, _ = self._with_labels_among((x, y, None))
        self.check(inputs)

    def make_train_function(self, force: bool = False) -> None:
        """See `keras.Model`."""
        super().make_train_function(force)  # type: ignore[misc]
        self.train_function = self._checking(self.train_function)

    def make_test_function(self, force: bool = False) -> None:
        """See `keras.Model`."""
        super().make_test_function(force)  # type: ignore[misc]
        self.test_function = self._checking(self.test_function)

    def make_predict_function(self, force: bool = False) -> None:
        """See `keras.Model`."""
        super().make_predict_function(force)  # type: ignore[misc]
        self.predict_function = self._checking(self.predict_function)

    def _checking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of a step which, on JAX, first checks its batch.

        There a graph goes on with NaN where an id is out of range; TensorFlow raises, at least on a CPU, and
        PyTorch has no graph.
        """
        if keras.config.backend() != "jax" or hasattr(function, "checks_its_batch"):
            return function

        def checked(data: Any) -> Any:
            self.check(self._with_labels_among(data)[0])
            return data

        def run(state: Any, iterator: Iterator[Any]) -> Any:
            return function(state, map(checked, iterator))

        run.checks_its_batch = True  # type: ignore[attr-defined]
        return run

    def train_step(self, *state_and_data: Any) -> Any:
        """See `keras.Model`; labels given beside the inputs are put among them."""
        return super().train_step(*self._with_labels(*state_and_data))  # type: ignore[misc]

    def test_step(self, *state_and_data: Any) -> Any:
        """See `keras.Model`; labels given beside the inputs are put among them."""
        return super().test_step(*self._with_labels(*state_and_data))  # type: ignore[misc]

    def predict_step(self, *state_and_data: Any) -> Any:
        """See `keras.Model`; labels among the inputs are left out: a loss cannot be joined over batches."""
        *state, data = state_and_data
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = self.arguments_by_name((x,), {})
        inputs = {name: value for name, value in inputs.items() if name not in self.label_names}
        return super().predict_step(*state, (inputs,))  # type: ignore[misc]

    def _with_labels(self, *state_and_data: Any) -> tuple[Any, ...]:
        *state, data = state_and_data
        return (*state, self._with_labels_among(data))

    def _with_labels_among(self, data: Any) -> tuple[dict[str, Any], Any, Any]:
        """Inputs by name, targets and sample weights; targets of the internal loss are among the inputs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs = self.arguments_by_name((x,), {})
        if y is not None and self._compile_loss is None:  # type: ignore[attr-defined]
            inputs = self.arguments_by_name((inputs,), self._labels_by_name(y))
            y = None
        return inputs, y, sample_weight

    def _labels_by_name(self, y: Any) -> Mapping[str, Any]:
        """Targets given beside the inputs, by the name of the label."""
        if isinstance(y, Mapping):
            return {self.label_of_score.get(name, name): value for name, value in y.items()}
        if len(self.label_names) != 1:
            wish = (
                f"as a dictionary of any of {', '.join(self.label_names)}"
                if self.label_names
                else "with a loss"
            )
            raise TensorError(f"{type(self).__name__} takes targets {wish}, got {type(y).__name__}")
        return {self.label_names[0]: y}

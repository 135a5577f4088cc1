"""The internal loss of a Keras model, and a loss given to `compile` instead.

A model with labels computes its own loss: labels are part of the inputs,
`fit({"input_ids": ..., "labels": ...})`, or a separate argument, `fit(inputs, labels)`. A loss given to
`compile` replaces it; losses and targets are then named by the scores,
`compile(loss={"question_answering_score": ...})`, wherever the targets are given.

Source: the training steps of Keras 3; those of JAX take and return state besides the data.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras import ops
from keras.src.losses.loss import scale_loss_for_distribution

from lxmert.configuration import LxmertConfig
from lxmert.errors import TensorError
from lxmert.model_keras.inputs import FlexibleInputs


class InternalLossMixin(FlexibleInputs):
    """Loss, metrics and steps of a model with labels; must precede `keras.Model` among the bases."""

    label_names: ClassVar[tuple[str, ...]] = ()
    """Inputs that are targets of the internal loss."""
    label_of_score: ClassVar[Mapping[str, str]] = {}
    """Score among the outputs -> its label among the inputs."""
    legacy_label_names: ClassVar[Mapping[str, str]] = {}
    """Label among the inputs -> its other name, if it has two."""
    task_names: ClassVar[tuple[str, ...]] = ()
    """The tasks, if there are several: besides their sum, the loss of each is logged under its name."""

    _task_losses: tuple[keras.metrics.Mean, ...] = ()
    if TYPE_CHECKING:  # attributes of keras.Model
        config: LxmertConfig
        optimizer: Any
        trainable_variables: list[keras.Variable]
        loss: Any
        _compile_loss: Any
        _compile_metrics: Any

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """See `keras.Model.compile`; the loss and metrics of an earlier call are discarded."""
        self._compile_loss = self._compile_metrics = self.loss = None  # Keras keeps those not given again
        super().compile(*args, **kwargs)  # type: ignore[misc]
        # Bypasses Keras' tracking, like the mean of the total: they are not part of the model.
        trackers = tuple(keras.metrics.Mean(name=task) for task in self.task_names)
        object.__setattr__(self, "_task_losses", trackers)

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """See `keras.Model.compile_from_config`; also builds the optimizer, so that its state can be loaded.

        Keras skips this, with a warning, if a class overrides its `compile`; here it is skipped if a derived
        class overrides ours.
        """
        if type(self).compile is not InternalLossMixin.compile:
            super().compile_from_config(config)  # type: ignore[misc]
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """See `keras.Model.metrics`; includes the mean loss of each task."""
        return [*super().metrics, *self._task_losses]  # type: ignore[misc]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compute the loss of `compile`, or the model's own, plus the losses of layers and regularisers.

        Raises:
            TensorError: no labels, or sample weights with the model's own loss.
        """
        if self._compile_loss is not None:
            y = self._labels_from_inputs(x, by_score=isinstance(self.loss, Mapping)) if y is None else y
            if y is None or (isinstance(y, Mapping) and not y):
                raise TensorError("there is nothing to learn: pass targets for the loss of compile()")
            scores = self._scores(y_pred, y)
            return super().compute_loss(x, y, scores, sample_weight, training)  # type: ignore[misc]
        self._reject_weights(sample_weight)
        loss = y_pred.get("loss") if isinstance(y_pred, Mapping) else None
        if loss is None and not self.takes_named_inputs():  # its `call` may have added losses
            return super().compute_loss(x, y, y_pred, sample_weight, training)  # type: ignore[misc]
        if loss is None:
            raise TensorError(f"there is nothing to learn: {self._missing_loss_hint()}")
        # Replicas of `tf.distribute` sum their gradients; Keras scales all losses but this one.
        mean = scale_loss_for_distribution(loss)
        return sum((self._aggregate_additional_loss(more) for more in self.losses), start=mean)  # type: ignore[attr-defined]

    def _reject_weights(self, *weights: Any) -> None:
        """Raise a TensorError for sample or class weights with the model's own loss."""
        if self._compile_loss is None and any(weight is not None for weight in weights):
            raise TensorError(
                f"{type(self).__name__} does not use sample or class weights in its own loss: pass a loss "
                "to compile(), or exclude the examples with the label -100"
            )

    def _missing_loss_hint(self) -> str:
        if not self.label_names:
            return f"{type(self).__name__} has no loss of its own, pass one to compile()"
        names = ", ".join(self.label_names)
        return f"pass one of {names} among the inputs, or a loss to compile()"

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Compute the losses of tasks that have targets, and the metrics of `compile`.

        Labels among the inputs are found automatically. With the model's own loss, `weighted_metrics` leave
        out what has no label; Keras gives `metrics` no weights.
        """
        losses = (y_pred.get("losses") if isinstance(y_pred, Mapping) else None) or {}
        for tracker in self._task_losses:
            if tracker.name in losses:  # weighted as Keras weights the total
                tracker.update_state(losses[tracker.name], sample_weight=_batch_size(x))
        without_targets = {tracker.name for tracker in self._task_losses} - set(losses)
        found = self._compiled_metrics_of(x, y, y_pred, sample_weight)
        return {name: value for name, value in found.items() if name not in without_targets}

    def _compiled_metrics_of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        if self._compile_metrics is None:
            return self.get_metrics_result()  # type: ignore[attr-defined]
        if y is None:
            y = self._labels_from_inputs(x, by_score=isinstance(self._compile_metrics._user_metrics, Mapping))
        scores = self._scores(y_pred, y)
        if self._compile_loss is None and self.takes_named_inputs() and y is not None:
            sample_weight = (
                {name: _label_weights(y[name], scores[name]) for name in y}
                if isinstance(y, Mapping)
                else _label_weights(y, scores)
            )
        return super().compute_metrics(x, y, scores, sample_weight)  # type: ignore[misc]

    def _labels_from_inputs(self, x: Any, by_score: bool) -> Any:
        """Return the labels among the inputs, by score; a single one as it is, unless `by_score`."""
        inputs = (
            self.arguments_by_name((x,), {})
            if self.takes_named_inputs()
            else x
            if isinstance(x, Mapping)
            else {}
        )
        names = {
            score: (name, self.legacy_label_names.get(name)) for score, name in self.label_of_score.items()
        }
        y = {
            score: inputs[name]
            for score, candidates in names.items()
            for name in candidates
            if name and name in inputs
        }
        return y if by_score or len(self.label_of_score) != 1 else next(iter(y.values()), None)

    def _scores(self, y_pred: Any, y: Any) -> Any:
        """Return the outputs that have a target, in the form of the targets."""
        if not isinstance(y_pred, Mapping):
            if "return_dict" not in self.argument_names():  # a class of the user's
                return y_pred
            raise TensorError(f"{type(self).__name__} returns a tuple: training needs return_dict=True")
        if isinstance(y, Mapping):
            missing = [name for name in y if name not in y_pred]
            if missing:
                raise TensorError(f"targets {missing} match no output, expected some of {list(y_pred)}")
            return {name: y_pred[name] for name in y}
        if len(self.label_of_score) != 1:
            raise TensorError(
                f"{type(self).__name__} has several outputs: pass targets and losses as dictionaries by "
                f"the name of the output, such as {next(iter(self.label_of_score), 'pooled_output')!r}"
            )
        return y_pred[next(iter(self.label_of_score))]

    def _symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """See Keras; infers the shapes of outputs before the first step, on some backends."""
        previous, self.config.return_dict = self.config.return_dict, True
        try:
            super()._symbolic_build(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.config.return_dict = previous

    def train_step(self, *state_and_data: Any) -> Any:
        """See `keras.Model`; labels given separately are added to the inputs."""
        return super().train_step(*self._prepare_step_data(*state_and_data))  # type: ignore[misc]

    def test_step(self, *state_and_data: Any) -> Any:
        """See `keras.Model`; labels given separately are added to the inputs."""
        return super().test_step(*self._prepare_step_data(*state_and_data))  # type: ignore[misc]

    def predict_step(self, *state_and_data: Any) -> Any:
        """See `keras.Model`; ignores labels, because losses cannot be concatenated over batches."""
        if not self.takes_named_inputs():
            return super().predict_step(*state_and_data)  # type: ignore[misc]
        *state, data = state_and_data
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = self.arguments_by_name((x,), {})
        inputs = {name: value for name, value in inputs.items() if name not in self.label_names}
        return super().predict_step(*state, (inputs,))  # type: ignore[misc]

    def _prepare_step_data(self, *state_and_data: Any) -> tuple[Any, ...]:
        *state, data = state_and_data
        inputs, y, sample_weight = self._with_labels_as_inputs(data)
        if "return_dict" in self.argument_names():
            # Losses and scores are looked up by name, whatever `return_dict` is in the configuration.
            inputs |= {"return_dict": True}
        return (*state, (inputs, y, sample_weight))

    def _with_labels_as_inputs(self, data: Any) -> tuple[Any, Any, Any]:
        """Return inputs by name, targets and sample weights; targets of the internal loss become inputs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.takes_named_inputs():
            return x, y, sample_weight
        inputs = self.arguments_by_name((x,), {})
        if y is not None and self._compile_loss is None:
            inputs = self.arguments_by_name((inputs,), self._labels_by_name(y))
            y = None
        return inputs, y, sample_weight

    def _labels_by_name(self, y: Any) -> Mapping[str, Any]:
        """Return separately given targets by the name of the label."""
        if isinstance(y, Mapping):
            return {self.label_of_score.get(name, name): value for name, value in y.items()}
        if len(self.label_names) != 1:
            expected = (
                f"as a dictionary of any of {', '.join(self.label_names)}"
                if self.label_names
                else "with a loss"
            )
            raise TensorError(f"{type(self).__name__} takes targets {expected}, got {type(y).__name__}")
        return {self.label_names[0]: y}


def _label_weights(targets: Any, scores: Any) -> Any:
    """Return 1 for a target of the model's own loss, and 0 where there is none."""
    labelled = targets >= 0
    # Told by rank: a graph may leave sizes open. Ids of words have one axis fewer than their scores.
    if len(targets.shape) == len(scores.shape):  # soft scores, or class ids in a column
        labelled = ops.all(labelled, axis=-1)
    return ops.cast(labelled, "float32")


def _batch_size(inputs: Any) -> Any:
    """Return the number of rows of a batch."""
    return keras.ops.shape(next(value for value in keras.tree.flatten(inputs) if value is not None))[0]

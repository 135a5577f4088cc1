"""Data sets whose batches are checked before a step of training, evaluation or prediction.

Values cannot be read inside a compiled step, so the batches of a data set (`tf.data`, a PyDataset, a
generator, a DataLoader of torch) are checked on their way there; outputs of a processor or tokenizer become
the dictionaries that Keras needs. Arrays need none of this: they are checked at once, see `training.py`.

Source: Keras 3 accepts a `DataAdapter` in place of data.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import GeneratorType
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters import get_data_adapter
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.data_adapters.torch_data_loader_adapter import TorchDataLoaderAdapter

from lxmert.errors import TensorError

Check = Callable[[Any], None]
"""Raises a `TensorError` for a batch that the model does not accept."""


class CheckedData(DataAdapter):
    """Keras' adapter of data, with a check of every batch.

    Args:
        check: checks a batch.
        x: the data.
        **options: the arguments `y`, `sample_weight`, `class_weight`, `shuffle`, `batch_size` and
            `steps_per_epoch` of `fit`.
    """

    def __init__(self, check: Check, x: Any, **options: Any) -> None:
        self._check = check
        if isinstance(x, GeneratorType):
            x = (_as_plain_batch(batch) for batch in x)
        elif isinstance(x, keras.utils.PyDataset):
            x = _PlainBatches(x)
        self._data = get_data_adapter(x, **options)
        if isinstance(self._data, TorchDataLoaderAdapter):
            self._data._dataloader = _Loader(self._data._dataloader, _as_plain_batch)
        self._fault: TensorError | None = None

    def __getattr__(self, name: str) -> Any:
        """Return other attributes, such as the batch size, from the wrapped adapter."""
        return getattr(self._data, name)

    def get_numpy_iterator(self) -> Iterator[Any]:
        """See `DataAdapter`."""
        return map(self._validate_batch, self._data.get_numpy_iterator())

    def get_jax_iterator(self) -> Iterator[Any]:
        """See `DataAdapter`."""
        return map(self._validate_batch, self._data.get_jax_iterator())

    def get_torch_dataloader(self) -> Iterable[Any]:
        """See `DataAdapter`."""
        return _Loader(self._data.get_torch_dataloader(), self._validate_batch)

    def get_tf_dataset(self) -> Any:
        """See `DataAdapter`; the check is a step of the pipeline, which runs in parallel with the model."""
        import tensorflow as tf

        data = self._data.get_tf_dataset()
        if not isinstance(data, tf.data.Dataset):  # already distributed over machines
            return data

        def check(*batch: Any) -> Any:
            flat = tf.nest.flatten(batch)
            tensor_indices = [index for index, value in enumerate(flat) if isinstance(value, tf.Tensor)]

            def check_values(*arrays: np.ndarray) -> np.bool_:
                values = dict(enumerate(flat)) | dict(zip(tensor_indices, arrays, strict=True))
                self._validate_batch(_repack_batch(tf.nest.pack_sequence_as(batch, list(values.values()))))
                return np.True_

            checked = tf.numpy_function(check_values, [flat[index] for index in tensor_indices], tf.bool)
            with tf.control_dependencies([checked]):
                tensors = [tf.identity(value) if isinstance(value, tf.Tensor) else value for value in flat]
            return _repack_batch(tf.nest.pack_sequence_as(batch, tensors))

        return data.map(check)

    @property
    def num_batches(self) -> int | None:
        """See `DataAdapter`."""
        count: int | None = self._data.num_batches
        return count

    def on_epoch_begin(self) -> None:
        """See `DataAdapter`."""
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """See `DataAdapter`."""
        self._data.on_epoch_end()

    def _validate_batch(self, batch: Any) -> Any:
        try:
            self._check(batch)
        except TensorError as fault:
            self._fault = fault
            raise
        return batch

    @contextmanager
    def unwrapped_errors(self) -> Iterator[None]:
        """Raise the error of the check itself where TensorFlow would wrap it in an error of its own."""
        try:
            yield
        except Exception:
            if self._fault is not None:
                raise self._fault from None
            raise


class _Loader:
    """A torch loader whose every batch passes through a function."""

    def __init__(self, loader: Any, change: Callable[[Any], Any]) -> None:
        self._loader, self._change = loader, change

    def __iter__(self) -> Iterator[Any]:
        return map(self._change, self._loader)


class _PlainBatches(keras.utils.PyDataset):
    """A PyDataset with batches in the form that Keras needs."""

    def __init__(self, data: keras.utils.PyDataset) -> None:
        super().__init__(
            workers=data.workers,
            use_multiprocessing=data.use_multiprocessing,
            max_queue_size=data.max_queue_size,
        )
        self._data = data

    @property
    def num_batches(self) -> int | None:
        count: int | None = self._data.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        return _as_plain_batch(self._data[index])

    def on_epoch_begin(self) -> None:
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._data.on_epoch_end()


def _as_plain_batch(batch: Any) -> Any:
    """Return a batch with dictionaries instead of other mappings, inputs alone in a tuple, as Keras needs."""
    parts = (batch,) if isinstance(batch, Mapping) else batch
    if not isinstance(parts, tuple | list):
        return batch
    plain = [dict(part) if isinstance(part, Mapping) else part for part in parts]
    return plain if isinstance(parts, list) else tuple(plain)


def _repack_batch(batch: tuple[Any, ...]) -> Any:
    """Restore a batch from the arguments of TensorFlow's `map`, which unpacks tuples."""
    return batch if len(batch) > 1 else batch[0]


def are_arrays(x: Any) -> bool:
    """Whether data are arrays, or structures of arrays, rather than an iterable of batches."""
    return x is None or isinstance(x, Mapping | list | tuple) or hasattr(x, "dtype")


class RestoreOnErrorMixin:
    """Preserves the values of a model if a training loop fails; must precede `keras.Model` among the bases.

    On JAX Keras removes the values from the variables while a loop runs.
    """

    _saved_values: tuple[tuple[keras.Variable, Any], ...] = ()
    """Variables, with the values that Keras removed from them last."""

    def _purge_model_variables(self, *args: Any, **kwargs: Any) -> None:
        """See Keras: removes the values, when layers and optimizer have all their variables."""
        optimizer: Any = getattr(self, "optimizer", None)
        variables = [*self.variables, *self.metrics_variables, *(optimizer.variables if optimizer else ())]  # type: ignore[attr-defined]
        # Bypasses Keras' tracking: they are not part of the model.
        object.__setattr__(
            self, "_saved_values", tuple((variable, variable._value) for variable in variables)
        )
        super()._purge_model_variables(*args, **kwargs)  # type: ignore[misc]

    @contextmanager
    def _restore_on_error(self) -> Iterator[None]:
        """Restore the values if an error is raised within the context."""
        try:
            yield
        except BaseException:
            if self._saved_values:
                self.jax_state_sync()  # type: ignore[attr-defined]
                for variable, value in self._saved_values:
                    if variable._value is None:
                        variable._value = value
                self._jax_state = None
            raise
        finally:
            object.__setattr__(self, "_saved_values", ())

"""Invalid values raise TensorError before a step runs, from every data source; valid data train."""

from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from lxmert.errors import TensorError  # noqa: E402
from lxmert.model_keras import (  # noqa: E402
    TFLxmertForPreTraining,
    TFLxmertForQuestionAnswering,
    checks,
    target_checks,
)
from tests.model.small import inputs, small_config, targets  # noqa: E402
from tests.model_keras.paired_models import as_numpy  # noqa: E402

CONFIG = small_config(
    l_layers=1, x_layers=1, r_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
)
BAD_ID = r"input_ids has the id 61, expected 0\.\.60 \(vocab_size is 61\)"


def valid_batch() -> dict[str, Any]:
    given: dict[str, Any] = as_numpy(inputs(CONFIG))
    return given | {"labels": as_numpy(targets(CONFIG))["ans"]}


def invalid_batch(name: str = "input_ids", value: float = 61) -> dict[str, Any]:
    batch = valid_batch()
    batch[name] = batch[name].copy()
    batch[name][(1,) * batch[name].ndim] = value
    return batch


def batch_of_one() -> dict[str, Any]:
    return {name: value[:1] for name, value in valid_batch().items()}


class Batches(keras.utils.PyDataset):
    """Batches as they are."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches, self.epochs = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Any:
        return (self.batches[number],)

    def on_epoch_end(self) -> None:
        self.epochs += 1


def pipeline(batches: list[Any]) -> Any:
    tf = pytest.importorskip("tensorflow")
    signature = {
        name: tf.TensorSpec([None, *array.shape[1:]], array.dtype) for name, array in batches[0].items()
    }
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)


def generator(batches: list[Any]) -> Iterator[Any]:
    for batch in batches:
        yield (batch,)


KINDS: dict[str, Callable[[list[Any]], Any]] = {
    "tf.data": pipeline,
    "PyDataset": Batches,
    "generator": generator,
    "DataLoader": lambda batches: torch.utils.data.DataLoader(
        [(batch,) for batch in batches],  # type: ignore[arg-type]
        batch_size=None,
    ),
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> TFLxmertForQuestionAnswering:
    """A model within whose steps no values can be read, as if they were compiled: that would take longer."""
    found = TFLxmertForQuestionAnswering(CONFIG)
    found.compile(optimizer=keras.optimizers.SGD(1e-2), run_eagerly=True)
    steps: list[int] = []  # the thread of the step that runs: pipelines run beside it
    read = checks.concrete_values
    for module in (checks, target_checks):
        monkeypatch.setattr(
            module, "concrete_values", lambda tensor: None if get_ident() in steps else read(tensor)
        )
    for name in ("train_step", "test_step", "predict_step"):

        def step(*data: Any, run: Any = getattr(found, name)) -> Any:  # noqa: B008 -- each its own
            steps.append(get_ident())
            try:
                return run(*data)
            finally:
                steps.clear()

        monkeypatch.setattr(found, name, step)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_id_out_of_range_in_later_batch_raises_tensor_error(model: Any, kind: str) -> None:
    before = model.get_weights()
    for number, (run, more) in enumerate(
        ((model.predict, {}), (model.evaluate, {}), (model.fit, {"shuffle": False}))
    ):
        with pytest.raises(TensorError, match=BAD_ID):
            run(KINDS[kind]([valid_batch(), valid_batch(), invalid_batch()]), verbose=0, **more)
        same = [np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
        assert all(same) == (number < 2)  # two steps of training were done, and are kept
    assert np.isfinite(model.evaluate(valid_batch(), verbose=0))


@pytest.mark.parametrize("kind", KINDS)
def test_id_out_of_range_in_first_batch_raises_and_keeps_weights(model: Any, kind: str) -> None:
    before = model.get_weights()
    with pytest.raises(TensorError, match=BAD_ID):
        model.fit(KINDS[kind]([invalid_batch(), valid_batch()]), shuffle=False, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input_ids", -1, "input_ids has the id -1, expected"),
        ("token_type_ids", 2, r"token_type_ids has the id 2, expected 0\.\.1"),
        ("visual_feats", np.nan, "visual_feats has values that are not finite"),
        ("labels", 9, r"labels has the class id 9, expected 0\.\.8"),
    ],
)
def test_fit_with_invalid_value_raises_tensor_error(
    model: Any, name: str, value: float, message: str
) -> None:
    with pytest.raises(TensorError, match=message):
        model.fit(Batches([valid_batch(), invalid_batch(name, value)]), verbose=0)


def test_invalid_validation_data_raise_tensor_error(model: Any) -> None:
    with pytest.raises(TensorError, match=BAD_ID):
        model.fit(valid_batch(), validation_data=Batches([invalid_batch()]), verbose=0)
    wrong = invalid_batch()
    labels = wrong.pop("labels")
    with pytest.raises(TensorError, match=BAD_ID):
        model.fit(valid_batch(), validation_data=(wrong, labels), verbose=0)


def test_on_batch_methods_raise_tensor_error_before_compilation() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer="sgd")
    for run in (model.train_on_batch, model.test_on_batch, model.predict_on_batch):
        with pytest.raises(TensorError, match=BAD_ID):
            run(invalid_batch())
    wrong = invalid_batch("labels", 9)
    labels = wrong.pop("labels")
    with pytest.raises(TensorError, match=r"labels has the class id 9, expected 0\.\.8"):
        model.train_on_batch(wrong, labels)
    assert model.train_function is None  # nothing was compiled


@pytest.mark.parametrize("kind", KINDS)
def test_valid_data_of_each_source_are_evaluated_predicted_and_fitted(model: Any, kind: str) -> None:
    batches = [valid_batch(), valid_batch(), batch_of_one()]
    losses = [float(keras.ops.convert_to_numpy(model(batch).loss)) for batch in batches]
    wanted = (3 * losses[0] + 3 * losses[1] + losses[2]) / 7
    assert model.evaluate(KINDS[kind](batches), verbose=0) == pytest.approx(wanted, rel=1e-5)
    assert model.predict(KINDS[kind](batches), verbose=0).question_answering_score.shape == (7, 9)
    held_out = Batches([valid_batch()])
    data = KINDS[kind](batches)
    history = model.fit(data, validation_data=held_out, epochs=1, verbose=0).history
    assert set(history) == {"loss", "val_loss"}
    assert model.optimizer.iterations == 3
    assert not isinstance(data, Batches) or data.epochs >= 1


def test_steps_per_epoch_limits_endless_data(model: Any) -> None:
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensors(valid_batch()).repeat()
    history = model.fit(data, steps_per_epoch=2, epochs=3, verbose=0).history["loss"]
    assert len(history) == 3
    assert model.optimizer.iterations == 6


def test_class_weight_sample_weight_and_validation_split_take_effect() -> None:
    found = []
    for kind in ("arrays", "pairs"):
        model = TFLxmertForQuestionAnswering(CONFIG)
        keras.utils.set_random_seed(1)
        model.set_weights([np.full_like(weight, 0.03) for weight in model.get_weights()])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss=loss, run_eagerly=True)
        batch = valid_batch()
        labels = batch.pop("labels")
        weights = {number: 1.0 + number for number in range(9)}
        if kind == "arrays":
            history = model.fit(batch, labels, class_weight=weights, shuffle=False, verbose=0).history
        else:
            tf = pytest.importorskip("tensorflow")
            data = tf.data.Dataset.from_tensors((batch, labels))
            history = model.fit(data, class_weight=weights, verbose=0).history
        found.append(history["loss"][0])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    plain = model.evaluate(batch, labels, verbose=0)
    doubled = model.evaluate(batch, labels, sample_weight=np.array([2.0, 0.0, 0.0]), verbose=0)
    assert doubled != pytest.approx(plain)
    whole = {name: np.concatenate([value, value]) for name, value in batch.items()}
    twice = np.concatenate([labels, labels])
    assert "val_loss" in model.fit(whole, twice, validation_split=0.5, verbose=0).history


def test_loss_of_each_task_is_logged() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    batch: dict[str, Any] = as_numpy(inputs(CONFIG)) | as_numpy(targets(CONFIG))
    last = {
        name: value[:1] if name != "obj_labels" else {task: (a[:1], b[:1]) for task, (a, b) in value.items()}
        for name, value in batch.items()
    }
    data = Batches([batch, last])
    history = model.fit(data, validation_data=Batches([batch]), verbose=0).history
    outputs = [model(part).losses for part in (batch, last)]
    tasks = set(outputs[0])
    assert tasks == {"masked_lm", "matched", "obj", "attr", "feat", "qa"}
    assert set(history) == {"loss", "val_loss"} | tasks | {f"val_{task}" for task in tasks}
    for task in tasks:
        first, second = (float(keras.ops.convert_to_numpy(losses[task])) for losses in outputs)
        assert history[task][0] == pytest.approx((3 * first + second) / 4, rel=1e-5), task
        assert history[f"val_{task}"][0] == pytest.approx(first, rel=1e-5), task
    assert history["loss"][0] == pytest.approx(sum(history[task][0] for task in tasks), rel=1e-5)


@pytest.mark.parametrize("name", ["labels", "masked_lm_labels"])
def test_metric_reads_masked_word_labels_under_either_name(name: str) -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile("sgd", metrics={"prediction_logits": ["accuracy"]}, run_eagerly=True)
    given: dict[str, Any] = as_numpy(inputs(CONFIG))
    best = keras.ops.convert_to_numpy(model(given).prediction_logits).argmax(axis=-1)
    truth = best.copy()
    truth[:2] = (truth[:2] + 1) % CONFIG.vocab_size
    results = model.evaluate(given | {name: truth}, verbose=0, return_dict=True)
    assert results["accuracy"] == pytest.approx(1 / 3, abs=1e-6)


def test_only_tasks_with_targets_are_logged() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer="sgd", run_eagerly=True)
    batch = as_numpy(inputs(CONFIG)) | {"matched_label": np.array([0, 1, 1])}
    assert set(model.fit(batch, verbose=0).history) == {"loss", "matched"}

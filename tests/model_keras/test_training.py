"""compile, fit, evaluate and predict with the models' own losses."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BatchEncoding, BatchFeature

keras = pytest.importorskip("keras")

from lxmert.errors import TensorError  # noqa: E402
from lxmert.model_keras import (  # noqa: E402
    TFLxmertForPreTraining,
    TFLxmertForPreTrainingOutput,
    TFLxmertForQuestionAnswering,
    TFLxmertForVisualReasoning,
    TFLxmertModel,
)
from tests.model.small import BATCH, OBJECTS, WORDS, inputs, small_config, targets  # noqa: E402
from tests.model_keras.paired_models import as_numpy  # noqa: E402

CONFIG = small_config(
    l_layers=1, x_layers=1, r_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
)
EXAMPLES = 7


def enlarged(value: Any) -> Any:
    """Seven examples out of three: batches of 3 leave a last one of 1."""
    if isinstance(value, dict):
        return {name: enlarged(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(enlarged(inner) for inner in value)
    return np.concatenate([value, value, value])[:EXAMPLES]


def batch() -> Any:
    return enlarged(as_numpy(inputs(CONFIG)))


def labels() -> Any:
    return enlarged(as_numpy(targets(CONFIG)))


def test_pretraining_fits_evaluates_and_predicts_with_own_loss() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    arguments = batch() | labels()
    history = model.fit(arguments, batch_size=3, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert history[2] < history[1] < history[0]
    by_batch = [
        float(keras.ops.convert_to_numpy(model(_rows(arguments, first, first + 3)).loss))
        for first in (0, 3, 6)
    ]
    wanted = (3 * by_batch[0] + 3 * by_batch[1] + by_batch[2]) / EXAMPLES
    found = model.evaluate(arguments, batch_size=3, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(wanted, rel=1e-5)
    found = model.predict(arguments, batch_size=3, verbose=0)
    assert isinstance(found, TFLxmertForPreTrainingOutput)
    assert list(found) == ["prediction_logits", "cross_relationship_score", "question_answering_score"]
    assert found.prediction_logits.shape == (EXAMPLES, 7, 61)
    whole = model(batch()).question_answering_score
    np.testing.assert_allclose(found[2], keras.ops.convert_to_numpy(whole), atol=1e-5)


def _rows(value: Any, first: int, last: int) -> Any:
    if isinstance(value, dict):
        return {name: _rows(inner, first, last) for name, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_rows(inner, first, last) for inner in value)
    return value[first:last]


def test_question_answering_with_separate_targets_reports_accuracy() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), metrics=["accuracy"], run_eagerly=True)
    history = model.fit(batch(), labels()["ans"], batch_size=7, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    loss, accuracy = model.evaluate(batch() | {"labels": labels()["ans"]}, batch_size=7, verbose=0)
    scores = model.predict(batch(), batch_size=7, verbose=0).question_answering_score
    assert accuracy == pytest.approx((scores.argmax(-1) == labels()["ans"]).mean(), abs=1e-6)
    own = model(batch() | {"labels": labels()["ans"]}).loss
    assert loss == pytest.approx(float(keras.ops.convert_to_numpy(own)), rel=1e-5)


@pytest.mark.parametrize("form", ["ids", "column", "scores"])
def test_weighted_metrics_leave_out_questions_without_a_label(form: str) -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer="sgd", metrics=["accuracy"], weighted_metrics=["accuracy"], run_eagerly=True)
    best = model.predict(batch(), verbose=0).question_answering_score.argmax(-1)
    answers = best.copy()
    answers[0] = (best[0] + 1) % 9  # wrong
    unlabelled = np.arange(EXAMPLES) >= 5  # 4 of 5 are right
    given = np.where(unlabelled, -100, answers)
    if form == "column":
        given = given[:, None]
    if form == "scores":
        given = np.where(unlabelled[:, None], -1.0, np.eye(9)[answers]).astype("float32")
    found = model.evaluate(batch() | {"labels": given}, batch_size=3, verbose=0, return_dict=True)
    assert found["weighted_accuracy"] == pytest.approx(4 / 5)


def words_of_which_two_of_seven_are_wrong(model: TFLxmertForPreTraining) -> np.ndarray:
    """Labels of one masked word in each text, all but two of which the model answers right."""
    best = model.predict(batch(), verbose=0).prediction_logits.argmax(-1)
    words = np.full_like(best, -100)
    words[:, 1] = best[:, 1]
    words[:2, 1] = (best[:2, 1] + 1) % 61
    return words


def test_weighted_metrics_leave_out_words_that_are_not_masked() -> None:
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer="sgd", weighted_metrics={"prediction_logits": ["accuracy"]}, run_eagerly=True)
    words = words_of_which_two_of_seven_are_wrong(model)
    found = model.evaluate(batch() | {"labels": words}, batch_size=3, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(5 / 7)


def test_weighted_metrics_of_words_in_graph_of_unknown_width() -> None:
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a graph of unknown sizes is TensorFlow's")
    model = TFLxmertForPreTraining(CONFIG)
    model.compile(optimizer="sgd", weighted_metrics={"prediction_logits": ["accuracy"]}, jit_compile=False)
    given = batch() | {"labels": words_of_which_two_of_seven_are_wrong(model)}
    signature = {
        name: tf.TensorSpec([None, None, *array.shape[2:]], array.dtype) for name, array in given.items()
    }
    data = tf.data.Dataset.from_generator(lambda: iter([given]), output_signature=signature)
    assert model.evaluate(data, verbose=0, return_dict=True)["accuracy"] == pytest.approx(5 / 7)


@pytest.mark.parametrize("made", [BatchFeature, BatchEncoding])
def test_outputs_of_processor_and_tokenizer_are_inputs_and_targets(made: Any) -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    answers = labels()["ans"]
    plain = batch() | {"labels": answers}
    given, truth = made(batch()), made({"labels": answers})
    expected = model.evaluate(plain, verbose=0)
    assert np.isfinite(expected)
    history = model.fit(made(plain), validation_data=(given, truth), shuffle=False, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(given, truth, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(given, truth) == pytest.approx(expected, rel=1e-5)
    assert model.test_on_batch(given, truth) == pytest.approx(expected, rel=1e-5)
    scores = model.predict(batch(), verbose=0)["question_answering_score"]
    for found in (model.predict(given, verbose=0), model.predict_on_batch(given)):
        np.testing.assert_allclose(found["question_answering_score"], scores, atol=1e-6)


class Batches(keras.utils.PyDataset):
    def __init__(self, batches: list[Any], **options: Any) -> None:
        super().__init__(**options)
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def as_tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(as_tensors(part) for part in value)
    return type(value)({name: torch.as_tensor(array) for name, array in value.items()})


def loader(batches: list[Any]) -> Any:
    return torch.utils.data.DataLoader([as_tensors(part) for part in batches], batch_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data_set",
    [
        Batches,
        lambda batches: Batches(batches, workers=2),
        lambda batches: (part for part in batches),
        loader,
    ],
    ids=["PyDataset", "PyDataset with workers", "generator", "DataLoader"],
)
def test_batches_of_a_data_set_may_be_outputs_of_processor(data_set: Any) -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    answers = labels()["ans"]
    expected = model.evaluate(batch() | {"labels": answers}, verbose=0)
    forms = {
        "alone": lambda: BatchFeature(batch() | {"labels": answers}),
        "dictionary": lambda: batch() | {"labels": answers},
        "in a tuple": lambda: (BatchEncoding(batch() | {"labels": answers}),),
        "with targets": lambda: (BatchFeature(batch()), BatchFeature({"labels": answers})),
    }
    for name, make in forms.items():
        found = model.fit(data_set([make(), make()]), epochs=1, shuffle=False, verbose=0).history["loss"]
        assert found == pytest.approx([expected], rel=1e-5), name


def test_option_among_inputs_raises_tensor_error() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    with pytest.raises(TensorError, match=r"^output_attentions is True, but fit, evaluate and predict take"):
        model.predict(batch() | {"output_attentions": True}, verbose=0)


def test_visual_reasoning_trains_on_image_pairs() -> None:
    model = TFLxmertForVisualReasoning(CONFIG)
    model.compile(keras.optimizers.Adam(1e-2), metrics={"logits": "accuracy"}, run_eagerly=True)
    pairs = {
        name: np.stack([value, value], 1) if name.startswith("visual") else value
        for name, value in batch().items()
    }
    truth = np.array([0, 1, 1, 0, 0, 1, 0])
    history = model.fit(pairs | {"labels": truth}, batch_size=7, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert len(history["accuracy"]) == 3


@pytest.mark.parametrize("named", [True, False])
def test_compiled_loss_receives_answer_scores(named: bool) -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    name = "question_answering_score"
    model.compile("sgd", loss={name: loss} if named else loss, run_eagerly=True)
    truth = labels()["ans"]
    found = model.evaluate(batch(), {name: truth} if named else truth, batch_size=7, verbose=0)
    own = model(batch() | {"labels": truth}).loss  # the same formula
    assert found == pytest.approx(float(keras.ops.convert_to_numpy(own)), rel=1e-5)


@pytest.mark.parametrize("named", [True, False])
def test_compiled_loss_finds_labels_among_inputs(named: bool) -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss={"question_answering_score": loss} if named else loss, run_eagerly=True)
    given = batch() | {"labels": labels()["ans"]}
    found = model.evaluate(given, batch_size=7, verbose=0)
    own = model(given).loss  # the same formula
    assert found == pytest.approx(float(keras.ops.convert_to_numpy(own)), rel=1e-5)
    with pytest.raises(TensorError, match="nothing to learn: pass targets for the loss of compile"):
        model.train_on_batch(batch())


def test_fit_without_usable_targets_raises_tensor_error() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(TensorError, match="nothing to learn: pass one of labels among the inputs"):
        model.train_on_batch(batch())
    with pytest.raises(TensorError, match="does not use sample or class weights"):
        model.train_on_batch(batch(), labels()["ans"], sample_weight=np.ones(EXAMPLES))
    plain = TFLxmertModel(CONFIG)
    plain.compile(optimizer="sgd", run_eagerly=True, loss="mse")
    with pytest.raises(TensorError, match="several outputs: pass targets and losses as dictionaries"):
        plain.train_on_batch(batch(), np.zeros((EXAMPLES, 24)))
    heads = TFLxmertForPreTraining(CONFIG)
    heads.compile(optimizer="sgd")
    with pytest.raises(TensorError, match="as a dictionary of any of masked_lm_labels, labels, obj_labels"):
        heads.fit(batch(), labels()["ans"])


def test_sample_and_class_weights_require_compiled_loss() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    model.compile("sgd", run_eagerly=True)
    given, weights = batch() | {"labels": labels()["ans"]}, np.ones(EXAMPLES)
    for run in (
        lambda: model.fit(given, sample_weight=weights, verbose=0),
        lambda: model.fit(given, class_weight={0: 2.0}, verbose=0),
        lambda: model.fit(given, validation_data=(given, None, weights), verbose=0),
        lambda: model.evaluate(given, sample_weight=weights, verbose=0),
        lambda: model.train_on_batch(given, sample_weight=weights),
        lambda: model.train_on_batch(given, class_weight={0: 2.0}),
        lambda: model.test_on_batch(given, sample_weight=weights),
    ):
        with pytest.raises(TensorError, match="does not use sample or class weights"):
            run()
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    plain = model.test_on_batch(batch(), labels()["ans"])
    doubled = model.test_on_batch(batch(), labels()["ans"], sample_weight=2 * weights)
    assert doubled == pytest.approx(2 * plain, rel=1e-5)


def test_compiling_again_forgets_the_loss_and_the_metrics() -> None:
    model = TFLxmertForQuestionAnswering(CONFIG)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    model.compile("sgd", loss=loss, metrics=["accuracy"], run_eagerly=True)
    assert model.test_on_batch(batch(), labels()["ans"])[0] > 7
    model.compile("sgd", run_eagerly=True)
    own = float(keras.ops.convert_to_numpy(model(batch() | {"labels": labels()["ans"]}).loss))
    assert model.test_on_batch(batch(), labels()["ans"]) == pytest.approx(own, rel=1e-5)
    assert model.loss is None


@pytest.mark.parametrize("own_loss", [True, False])
def test_model_with_return_dict_false_config_trains(own_loss: bool) -> None:
    config = small_config(l_layers=1, x_layers=1, return_dict=False)
    model = TFLxmertForQuestionAnswering(config)
    loss = None if own_loss else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, metrics=["accuracy"], jit_compile=False)
    history = model.fit(batch(), labels()["ans"], batch_size=7, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    if own_loss:
        assert model.train_on_batch(batch() | {"labels": labels()["ans"]})[0] < history["loss"][1]
    assert isinstance(model.predict(batch(), batch_size=7, verbose=0), tuple)
    assert model.config.return_dict is False


def test_dropout_acts_in_training_only() -> None:
    config = small_config(l_layers=1, x_layers=1, hidden_dropout_prob=0.5)
    model = TFLxmertModel(config)
    given = as_numpy(inputs(config))
    calls = [
        keras.ops.convert_to_numpy(model(given, training=training).pooled_output)
        for training in (False, False, True, True)
    ]
    np.testing.assert_array_equal(calls[0], calls[1])
    assert abs(calls[2] - calls[3]).max() > 0.01
    assert abs(calls[2] - calls[0]).max() > 0.01


def test_dropout_acts_on_every_attention_map_and_sublayer_at_its_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acting: Counter[tuple[float, tuple[int, ...]]] = Counter()

    def call(self: Any, states: Any, training: bool = False) -> Any:
        acting[self.rate, tuple(states.shape)] += bool(training)
        return states

    monkeypatch.setattr(keras.layers.Dropout, "call", call)
    sizes = {"l_layers": 1, "x_layers": 1, "r_layers": 1}
    config = small_config(**sizes, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.4)
    TFLxmertModel(config)(as_numpy(inputs(config)), training=True)
    batch, words, objects, heads, hidden = BATCH, WORDS, OBJECTS, 3, 24
    assert acting == {
        # The embedding; attention and feed-forward of one modality; those two and cross-attention of both.
        (0.2, (batch, words, hidden)): 6,
        (0.2, (batch, objects, hidden)): 6,
        (0.4, (batch, heads, words, words)): 2,
        (0.4, (batch, heads, objects, objects)): 2,
        (0.4, (batch, heads, words, objects)): 1,
        (0.4, (batch, heads, objects, words)): 1,
    }

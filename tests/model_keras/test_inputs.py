"""The forms in which inputs may be passed, and the errors of invalid ones before a graph runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from lxmert.errors import TensorError  # noqa: E402
from lxmert.model_keras import (  # noqa: E402
    TFLxmertForPreTraining,
    TFLxmertForQuestionAnswering,
    TFLxmertForVisualReasoning,
    TFLxmertModel,
)
from tests.model.small import inputs, small_config, targets  # noqa: E402
from tests.model_keras.paired_models import as_numpy  # noqa: E402

CONFIG = small_config(l_layers=1, x_layers=1, r_layers=1)
ORDER = [
    "input_ids",
    "visual_feats",
    "visual_pos",
    "attention_mask",
    "visual_attention_mask",
    "token_type_ids",
    "inputs_embeds",
]


@pytest.fixture(scope="module")
def model() -> TFLxmertModel:
    return TFLxmertModel(CONFIG)


@pytest.fixture(scope="module")
def answering() -> TFLxmertForQuestionAnswering:
    return TFLxmertForQuestionAnswering(CONFIG)


@pytest.fixture(scope="module")
def pretraining() -> TFLxmertForPreTraining:
    return TFLxmertForPreTraining(CONFIG)


def batch() -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = as_numpy(inputs(CONFIG))
    return found


def by_position() -> list[Any]:
    given = batch()
    return [given.get(name) for name in ORDER]


FORMS: dict[str, Callable[[Any], Any]] = {
    "positions": lambda model: model(*by_position()),
    "list": lambda model: model(by_position()),
    "tuple": lambda model: model(tuple(by_position())),
    "dictionary": lambda model: model(batch()),
    "dictionary with 'inputs'": lambda model: model(
        {"inputs" if name == "input_ids" else name: value for name, value in batch().items()}
    ),
    "keyword 'inputs'": lambda model: model(inputs=batch()),
    "list and keywords": lambda model: model(
        by_position()[:3], **{name: batch()[name] for name in ORDER[3:6]}
    ),
    "dictionary and keywords": lambda model: model(
        {name: batch()[name] for name in ORDER[:3]}, **{name: batch()[name] for name in ORDER[3:6]}
    ),
    "tensors of the backend": lambda model: model(
        **{name: keras.ops.convert_to_tensor(value) for name, value in batch().items()}
    ),
    "32-bit ids and double features": lambda model: model(
        {
            name: value.astype(np.int32 if value.dtype == np.int64 else np.float64)
            for name, value in batch().items()
        }
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_input_form_gives_same_outputs(model: TFLxmertModel, form: str) -> None:
    wanted = model(**batch())
    found = FORMS[form](model)
    for name in wanted:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found[name]), keras.ops.convert_to_numpy(wanted[name]), atol=1e-6
        )


def test_omitted_masks_default_to_ones_and_token_type_ids_to_zeros(model: TFLxmertModel) -> None:
    given = {name: batch()[name] for name in ORDER[:3]}
    full = given | {
        "attention_mask": np.ones((3, 7), bool),
        "visual_attention_mask": np.ones((3, 5), np.float32),
        "token_type_ids": np.zeros((3, 7), np.int64),
    }
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(given).pooled_output),
        keras.ops.convert_to_numpy(model(full).pooled_output),
        atol=1e-6,
    )


def test_integer_inputs_embeds_equal_float_inputs_embeds(model: TFLxmertModel) -> None:
    vectors = np.arange(3 * 7 * 24).reshape(3, 7, 24) % 5
    given = {name: batch()[name] for name in ORDER[1:3]}
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model(inputs_embeds=vectors, **given).pooled_output),
        keras.ops.convert_to_numpy(model(inputs_embeds=vectors.astype(np.float32), **given).pooled_output),
    )


@pytest.mark.parametrize("form", ["dictionary", "list", "keywords"])
def test_functional_model_from_symbolic_inputs_gives_same_outputs(model: TFLxmertModel, form: str) -> None:
    symbols = {
        "input_ids": keras.Input((None,), dtype="int32", name="input_ids"),
        "visual_feats": keras.Input((None, 13), name="visual_feats"),
        "visual_pos": keras.Input((None, 4), name="visual_pos"),
        "attention_mask": keras.Input((None,), dtype="int32", name="attention_mask"),
    }
    calls = {
        "dictionary": lambda: model(symbols),
        "list": lambda: model(list(symbols.values())),
        "keywords": lambda: model(**symbols),
    }
    pooled = keras.ops.tanh(calls[form]().pooled_output)
    functional = keras.Model(symbols, pooled)
    given = {name: batch()[name] for name in symbols}
    wanted = np.tanh(keras.ops.convert_to_numpy(model(given).pooled_output))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(functional(given)), wanted, atol=1e-6)


def changed(name: str, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    given: dict[str, Any] = batch()
    return given | {name: change(given[name].copy())}


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array[1, 2] = value
    return array


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in batch().items() if name not in names}


WRONG = {
    r"input_ids has the id 61, expected 0\.\.60 \(vocab_size is 61\)": lambda: changed(
        "input_ids", lambda ids: with_value(ids, 61)
    ),
    r"input_ids has the id -1, expected": lambda: changed("input_ids", lambda ids: with_value(ids, -1)),
    r"token_type_ids has the id 2, expected 0\.\.1": lambda: changed(
        "token_type_ids", lambda ids: with_value(ids, 2)
    ),
    r"input_ids must be integers, got float32": lambda: changed(
        "input_ids", lambda ids: ids.astype(np.float32)
    ),
    r"input_ids has shape \(21,\), expected \(any, any\): batch, words": lambda: changed(
        "input_ids", np.ravel
    ),
    r"input_ids must be a tensor or a NumPy array, got list": lambda: changed("input_ids", np.ndarray.tolist),
    r"visual_feats is missing": lambda: without("visual_feats"),
    r"visual_pos is missing": lambda: without("visual_pos"),
    r"exactly one of input_ids and inputs_embeds, got neither": lambda: without("input_ids"),
    r"exactly one of input_ids and inputs_embeds, got both": lambda: (
        batch() | {"inputs_embeds": np.zeros((3, 7, 24), np.float32)}
    ),
    r"visual_feats has shape \(3, 5, 12\), expected \(3, any, 13\)": lambda: changed(
        "visual_feats", lambda features: features[..., 1:]
    ),
    r"visual_feats has values that are not finite": lambda: changed(
        "visual_feats", lambda features: with_value(features, np.nan)
    ),
    r"visual_pos has shape \(3, 4, 4\), expected \(3, 5, 4\)": lambda: changed(
        "visual_pos", lambda places: places[:, 1:]
    ),
    r"attention_mask has shape \(3, 6\), expected \(3, 7\)": lambda: changed(
        "attention_mask", lambda words: words[:, 1:]
    ),
    "attention_mask has the value -10000, expected 1 for real entries": lambda: changed(
        "attention_mask", lambda words: (1.0 - words) * -1e4
    ),
    "visual_attention_mask has the value 2, expected 1 for real entries": lambda: changed(
        "visual_attention_mask", lambda objects: 2 * objects
    ),
    r"visual_attention_mask has shape \(2, 5\), expected \(3, 5\)": lambda: changed(
        "visual_attention_mask", lambda objects: objects[1:]
    ),
    r"17 word pieces, but the model has 16 positions": lambda: (
        without("attention_mask", "token_type_ids") | {"input_ids": np.zeros((3, 17), np.int64)}
    ),
    r"visual_feats has no object": lambda: (
        without("visual_attention_mask")
        | {"visual_feats": np.zeros((3, 0, 13), np.float32), "visual_pos": np.zeros((3, 0, 4), np.float32)}
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_invalid_input_raises_tensor_error(model: TFLxmertModel, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        model(WRONG[message]())


def test_unknown_argument_raises_type_error_naming_nearest(model: TFLxmertModel) -> None:
    with pytest.raises(TypeError, match=r"'visual_feat' \(nearest known: 'visual_feats'\)"):
        model(batch() | {"visual_feat": 1})
    with pytest.raises(TypeError, match="TFLxmertModel got unknown argument"):
        model(**batch(), labels=np.zeros(3, np.int64))


def test_input_given_twice_or_too_many_inputs_raise_tensor_error(model: TFLxmertModel) -> None:
    with pytest.raises(TensorError, match="input_ids is given twice"):
        model(batch(), input_ids=batch()["input_ids"])
    with pytest.raises(TensorError, match="by position, expected at most 14"):
        model([None] * 15)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", np.full((3, 7), 61), r"labels has the class id 61, expected 0\.\.60"),
        ("labels", np.full((3, 6), 1), r"labels has shape \(3, 6\), expected \(3, 7\)"),
        ("labels", np.full((3, 7), 1.0), "labels must be integer class ids, got float64"),
        ("matched_label", np.array([0, 1, 2]), "matched_label has the class id 2"),
        ("ans", np.array([0, 1, 9]), r"ans has the class id 9, expected 0\.\.8"),
        ("ans", np.full((3, 9), 1.5), "ans has scores that are not in 0..1"),
        ("ans", np.zeros((3, 8)), r"ans has shape \(3, 8\), expected class ids \(3,\) or scores \(3, 9\)"),
        ("obj_labels", {"object": ()}, r"unknown key\(s\) \['object'\]"),
        ("obj_labels", {"obj": np.zeros((3, 5))}, "must be a pair of target and weight, got ndarray"),
        ("obj_labels", {"obj": (np.full((3, 5), 11), np.ones((3, 5)))}, "has the class id 11"),
        ("obj_labels", {"obj": (np.zeros((3, 4), int), np.ones((3, 5)))}, r"has shape \(3, 4\)"),
        ("obj_labels", {"attr": (np.zeros((3, 5), int), np.ones((3, 4)))}, r"the weight has shape \(3, 4\)"),
        ("obj_labels", {"feat": (np.zeros((3, 5, 2)), np.ones((3, 5)))}, r"the target has shape \(3, 5, 2\)"),
    ],
)
def test_invalid_target_raises_tensor_error(pretraining: Any, name: str, value: Any, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        pretraining(**batch(), **{name: value})


def test_object_classes_of_padding_are_not_checked(pretraining: Any) -> None:
    classes = np.zeros((3, 5), np.int64)
    classes[2, 3:] = 999  # hidden by the mask
    weights = np.ones((3, 5), np.float32)
    loss = pretraining(**batch(), obj_labels={"obj": (classes, weights)}).loss
    assert np.isfinite(keras.ops.convert_to_numpy(loss))


def test_visual_reasoning_without_pair_axis_raises_tensor_error() -> None:
    model = TFLxmertForVisualReasoning(CONFIG)
    with pytest.raises(
        TensorError, match=r"visual_feats has shape \(3, 5, 13\), expected \(any, 2, any, any\)"
    ):
        model(batch())


def test_fit_evaluate_and_predict_raise_tensor_error_before_compilation(answering: Any) -> None:
    answering.compile(optimizer="sgd")
    bad = changed("input_ids", lambda ids: with_value(ids, 61))
    labels = as_numpy(targets(CONFIG))["ans"]
    for call in (lambda: answering.fit(bad, labels), lambda: answering.evaluate(bad, labels)):
        with pytest.raises(TensorError, match="input_ids has the id 61"):
            call()
    with pytest.raises(TensorError, match="input_ids has the id 61"):
        answering.predict(bad)
    with pytest.raises(TensorError, match="labels has the class id 9"):
        answering.fit(batch(), np.array([0, 9, 1]), verbose=0)
    assert answering.train_function is None

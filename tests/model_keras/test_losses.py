"""Losses of the Keras models: ignored labels, padding, forms of targets, float32 results."""

import math
from typing import Any

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from lxmert.model import losses as torch_losses  # noqa: E402
from lxmert.model_keras.losses import answer_loss, class_loss, object_losses  # noqa: E402

SCORES = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-3.0, 4.0, 1.0]], np.float32)


def value(loss: Any) -> float:
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    return float(keras.ops.convert_to_numpy(loss))


def tensor(array: Any) -> Any:
    return keras.ops.convert_to_tensor(array)


@pytest.mark.parametrize("mark", [-100, -1])
def test_class_loss_ignores_unlabelled_rows(mark: int) -> None:
    found = value(class_loss(tensor(SCORES), tensor(np.array([0, mark, mark]))))
    by_hand = -2.0 + math.log(math.exp(2) + 1 + math.exp(-1))
    assert found == pytest.approx(by_hand, rel=1e-6)


def test_without_any_label_the_loss_is_zero() -> None:
    assert value(class_loss(tensor(SCORES), tensor(np.full(3, -100)))) == 0.0
    assert value(answer_loss(tensor(SCORES), tensor(np.full((3, 3), -1.0, np.float32)))) == 0.0


def test_half_precision_scores_give_a_float32_loss() -> None:
    half = keras.ops.cast(tensor(SCORES), "bfloat16")
    assert value(class_loss(half, tensor(np.array([0, 1, 2])))) == pytest.approx(1.6, abs=0.5)


@pytest.mark.parametrize("kind", ["ids", "column", "one hot integers", "soft", "some rows unlabelled"])
def test_answer_loss_equals_pytorch_for_every_target_form(kind: str) -> None:
    targets = {
        "ids": np.array([2, -1, 0]),
        "column": np.array([[2], [0], [-100]]),
        "one hot integers": np.eye(3, dtype=np.int64)[[2, 0, 0]],
        "soft": np.array([[0.3, 0.0, 1.0], [0, 0, 0], [0.9, 0.6, 0]], np.float32),
        "some rows unlabelled": np.array([[0.3, 0, 1], [-1, -1, -1], [0.9, 0.6, 0]], np.float32),
    }[kind]
    wanted = torch_losses.answer_loss(torch.tensor(SCORES), torch.tensor(targets), "labels")
    assert value(answer_loss(tensor(SCORES), tensor(targets))) == pytest.approx(float(wanted), rel=1e-5)


def test_confidence_weights_only_its_own_object() -> None:
    scores = np.array([[[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]]], np.float32)
    classes, confidences = np.array([[0, 0, 1]]), np.array([[1.0, 0.5, 0.0]], np.float32)
    found = object_losses({"obj": tensor(scores)}, {"obj": (tensor(classes), tensor(confidences))}, None, 2.0)
    by_object = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(3)), math.log(2)]
    by_hand = 2.0 * (1.0 * by_object[0] + 0.5 * by_object[1] + 0.0 * by_object[2]) / 3
    assert value(found["obj"]) == pytest.approx(by_hand, rel=1e-5)


def test_feature_loss_ignores_nan_and_inf_in_padding() -> None:
    features = np.zeros((1, 3, 2), np.float32)
    wanted = np.array([[[0.5, 0.5], [3.0, 0.0], [np.nan, np.inf]]], np.float32)
    weight = np.array([[1.0, 1.0, np.nan]], np.float32)
    found = object_losses(
        {"feat": tensor(features)},
        {"feat": (tensor(wanted), tensor(weight))},
        tensor(np.array([[1, 1, 0]])),
        1.0,
    )
    by_hand = (0.5 * 0.25 + (3.0 - 0.5) / 2) / 2
    assert value(found["feat"]) == pytest.approx(by_hand, rel=1e-6)


def test_flattened_targets_give_same_class_loss() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    targets = np.random.default_rng(1).integers(-1, 4, (3, 5))
    square, flat = (value(class_loss(tensor(scores), tensor(given))) for given in (targets, targets.ravel()))
    assert square == flat != 0.0

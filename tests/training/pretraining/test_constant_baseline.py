"""The best constant predictors, against hand computation and a grid search."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lxmert.training.pretraining.constant_baseline import (
    _ClassCounter,
    constant_baselines,
    smooth_l1_of_best_vector,
)


class _Dataset:
    def answer_scores(self, index: int) -> dict[int, float]:
        return [{0: 1.0, 2: 0.3}, {2: 0.6}, {}, {1: 1.0}][index]


class _Data:
    """Two batches by hand."""

    dataset = _Dataset()

    def batches(self) -> Any:
        mask = torch.tensor([[1, 1], [1, 0]])
        boxes = torch.tensor([[[0.0, 0, 1, 1], [0.2, 0, 1, 1]], [[1.0, 0, 1, 1], [9.0, 9, 9, 9]]])
        yield (
            torch.tensor([0, 1]),
            {
                "labels": torch.tensor([[-100, 5, 5, -100], [-100, 5, 7, -100]]),
                "matched_label": torch.tensor([1, 0]),
                "ans": torch.tensor([0, 2]),
                "visual_attention_mask": mask,
                "visual_pos": boxes,
                "obj_labels": {
                    "obj": (torch.tensor([[3, 4], [3, 6]]), torch.tensor([[0.5, 1.0], [0.5, 9.0]])),
                    "feat": (
                        torch.tensor([[[0.0], [9.0]], [[1.0], [9.0]]]),
                        torch.tensor([[1.0, 0], [1, 1]]),
                    ),
                },
            },
        )
        yield (
            torch.tensor([2, 3]),
            {
                "labels": torch.full((2, 3), -100),
                "matched_label": torch.tensor([1, 1]),
                "ans": torch.tensor([-100, 1]),
                "visual_attention_mask": torch.zeros(2, 1),
                "visual_pos": torch.ones(2, 1, 4),
                "obj_labels": {
                    "obj": (torch.full((2, 1), -100), torch.zeros(2, 1)),
                    "feat": (torch.zeros(2, 1, 1), torch.zeros(2, 1)),
                },
            },
        )


def entropy(*shares: float) -> float:
    return -sum(share * math.log(share) for share in shares)


def test_single_class_baseline_has_loss_of_positive_zero() -> None:
    classes = _ClassCounter()
    classes.add(torch.tensor([3, 3]))
    best = classes.best()
    assert best is not None
    assert (str(best.loss), best.accuracy) == ("0.0", 100.0)


def test_constant_baselines_match_hand_computation() -> None:
    found = constant_baselines(_Data())  # type: ignore[arg-type]
    assert found["masked_words"].loss == pytest.approx(entropy(0.75, 0.25))
    assert found["masked_words"].accuracy == 75.0
    assert found["matched"].loss == pytest.approx(entropy(0.75, 0.25))
    # Classes 3 and 4 weigh 1 each, but 3 is there twice; padding counts nothing.
    assert found["object_labels"].loss == pytest.approx(entropy(0.5, 0.5))
    assert found["object_labels"].accuracy == pytest.approx(200 / 3)
    # Three questions are answered: 0, 2 and 1 are drawn; the answer 0 or 1 would score 1 of 3.
    assert found["qa"].loss == pytest.approx(math.log(3))
    assert found["qa"].accuracy == pytest.approx(100 / 3)
    # Features 0 and 1, the best constant is 0.5.
    assert found["feature_regression"].loss == pytest.approx(0.125)
    # x1 of 0, 0.2 and 1: the median leaves 0.2 and 0.8.
    assert found["places"].loss == pytest.approx(1.0 / 3)
    assert "attribute_labels" not in found


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12))
def test_smooth_l1_of_best_vector_equals_minimum_over_grid(values: list[float]) -> None:
    column = torch.tensor(values)[:, None]
    grid = np.linspace(-5, 5, 2001)
    distance = np.abs(grid[:, None] - np.array(values)[None])
    losses = np.where(distance < 1, 0.5 * distance**2, distance - 0.5).mean(axis=1)
    assert smooth_l1_of_best_vector(column) <= losses.min() + 1e-5
    assert smooth_l1_of_best_vector(column) >= losses.min() - 0.01

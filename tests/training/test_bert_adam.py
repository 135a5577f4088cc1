import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lxmert.errors import ConfigurationError
from lxmert.training.bert_adam import BertAdam, bert_adam_schedule, warmup_constant, warmup_linear


@pytest.fixture(scope="module")
def vectors(shared_specs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_specs / "metric_vectors.json").read_text())["bert_adam"]
    return found


def test_warmup_schedules_match_values_of_original(vectors: dict[str, Any]) -> None:
    for point in vectors["schedule_values"]:
        given = (point["progress"], point["warmup"])
        assert warmup_linear(*given) == pytest.approx(point["warmup_linear"], abs=1e-12)
        assert warmup_constant(*given) == pytest.approx(point["warmup_constant"], abs=1e-12)


def test_updates_match_trajectory_of_original_optimizer(vectors: dict[str, Any]) -> None:
    given = vectors["trajectory"]
    weights = nn.Parameter(torch.tensor(given["param0"], dtype=torch.float64))
    optimizer = BertAdam(
        [weights],
        lr=given["lr"],
        betas=(given["b1"], given["b2"]),
        eps=given["e"],
        weight_decay=given["weight_decay"],
    )
    schedule = bert_adam_schedule(optimizer, "linear", given["warmup"], given["t_total"])
    assert len(given["trajectory_float64"]) == 12
    for step in given["trajectory_float64"]:
        weights.grad = torch.tensor(step["grad"], dtype=torch.float64)
        optimizer.step()
        schedule.step()
        state = optimizer.state[weights]
        assert weights.tolist() == pytest.approx(step["param"], abs=1e-14)
        assert state["exp_avg"].tolist() == pytest.approx(step["m"], abs=1e-14)
        assert state["exp_avg_sq"].tolist() == pytest.approx(step["v"], abs=1e-14)


def test_single_update_matches_hand_computation() -> None:
    weights = nn.Parameter(torch.tensor([2.0]))
    optimizer = BertAdam([weights], lr=0.1, betas=(0.9, 0.999), eps=0.5, weight_decay=0.01)
    weights.grad = torch.tensor([3.0])
    optimizer.step()
    first, second = 0.1 * 3.0, 0.001 * 9.0
    assert weights.item() == pytest.approx(2.0 - 0.1 * (first / (math.sqrt(second) + 0.5) + 0.01 * 2.0))


def test_bert_adam_equals_adamw_without_bias_correction() -> None:
    settings: Any = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 0.5, "weight_decay": 0.01}
    start = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (BertAdam([ours], **settings), torch.optim.AdamW([theirs], **settings))
    state_after_many_updates = {
        "step": torch.tensor(1e9),
        "exp_avg": torch.zeros_like(start),
        "exp_avg_sq": torch.zeros_like(start),
    }
    optimizers[1].state[theirs] = state_after_many_updates  # After so many updates the corrections are 1.
    for scale in (3.0, -1.0, 2.0):
        for weights, optimizer in zip((ours, theirs), optimizers, strict=True):
            weights.grad = scale * torch.tensor([1.0, 2.0, -4.0], dtype=torch.float64)
            optimizer.step()
        assert ours.tolist() == pytest.approx(theirs.tolist(), abs=1e-14)
    assert (ours - start).abs().min() > 0.01


def test_step_with_closure_uses_its_gradients_and_returns_its_loss() -> None:
    weights = nn.Parameter(torch.tensor([2.0]))
    optimizer = BertAdam([weights], lr=0.1, betas=(0.9, 0.999), eps=0.5, weight_decay=0.0)

    def closure() -> float:
        loss = (3 * weights).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 6.0
    assert weights.item() == pytest.approx(2.0 - 0.1 * 0.3 / (math.sqrt(0.009) + 0.5))


def test_parameter_without_gradient_is_unchanged() -> None:
    weights = nn.Parameter(torch.tensor([2.0]))
    BertAdam([weights], lr=0.1).step()
    assert weights.item() == 2.0


def test_warmup_in_updates_is_not_rounded() -> None:
    weights = nn.Parameter(torch.tensor([1.0]))
    optimizer = BertAdam([weights], lr=1.0)
    schedule = bert_adam_schedule(optimizer, "linear", 0.25, 10)  # 2.5 updates
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        weights.grad = torch.tensor([1.0])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.0, 0.4, 0.8, 0.7 / 0.75])
    assert rates[-1] == pytest.approx(0.1 / 0.75)
    same = bert_adam_schedule(BertAdam([weights], lr=1.0), "linear", 2, 8)
    assert same.get_last_lr() == [0.0]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant_with_warmup"])
def test_every_schedule_warms_up_and_ends_at_its_final_rate(schedule: Any) -> None:
    weights = nn.Parameter(torch.tensor([1.0]))
    factor = bert_adam_schedule(BertAdam([weights], lr=1.0), schedule, 0.2, 10).lr_lambdas[0]
    assert factor(0) == 0
    assert factor(1) == pytest.approx(0.5)
    assert factor(2) == pytest.approx(1.0)
    assert factor(10) == pytest.approx(1.0 if schedule == "constant_with_warmup" else 0.0)
    assert factor(12) == pytest.approx(factor(10))
    assert schedule != "cosine" or factor(6) == pytest.approx(0.5)


def test_warmup_as_long_as_run_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"warm-up of 10 updates must be shorter than the run's 10"):
        bert_adam_schedule(BertAdam([nn.Parameter(torch.ones(1))]), "linear", 10, 10)

"""Optimiser, weight decay and schedule that a trainer takes from a recipe, and how it weights losses."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from lxmert.errors import TrainingError
from lxmert.training.base_trainer import BaseTrainer, GlobalBatchTrainer
from lxmert.training.bert_adam import BertAdam
from lxmert.training.recipe_sections import LoopSection

VALUES: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 1,
    "peak_learning_rate": 0.01,
    "schedule": "linear",
    "warmup": 0.25,
    "weight_decay": 0.125,
    "adam_beta2": 0.9,
    "adam_epsilon": 1e-5,
    "seed": 1,
}


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(3, 2)
        self.dense = nn.Linear(2, 2)
        self.LayerNorm = nn.LayerNorm(2)


def make_trainer(optimizer: str, folder: Path, **changes: Any) -> BaseTrainer:
    section = LoopSection.model_validate(VALUES | {"optimizer": optimizer} | changes)
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        learning_rate=section.peak_learning_rate,
        weight_decay=section.weight_decay,
        adam_beta2=section.adam_beta2,
        adam_epsilon=section.adam_epsilon,
        optim="adamw_torch",
        lr_scheduler_type="linear",
        warmup_steps=section.warmup,
    )
    made = BaseTrainer(section, model=_Model(), args=arguments)
    made.create_optimizer()
    return made


def decayed_parameter_count(optimizer: torch.optim.Optimizer) -> int:
    return sum(
        weights.numel()
        for group in optimizer.param_groups
        if group["weight_decay"]
        for weights in group["params"]
    )


def test_adamw_excludes_biases_and_norms_from_weight_decay(tmp_path: Path) -> None:
    made = make_trainer("adamw", tmp_path).optimizer
    assert isinstance(made, torch.optim.AdamW)
    assert decayed_parameter_count(made) == 3 * 2 + 2 * 2


def test_bert_adam_applies_weight_decay_to_every_parameter(tmp_path: Path) -> None:
    made = make_trainer("bert_adam", tmp_path).optimizer
    assert isinstance(made, BertAdam)
    assert decayed_parameter_count(made) == 3 * 2 + 2 * 2 + 2 + 2 + 2
    group = made.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (
        0.01,
        (0.9, 0.9),
        1e-5,
        0.125,
    )


@pytest.mark.parametrize(("optimizer", "third_factor"), [("bert_adam", 2 / 2.5), ("adamw", 2 / 3)])
def test_warmup_is_rounded_up_for_adamw_but_not_for_bert_adam(
    tmp_path: Path, optimizer: str, third_factor: float
) -> None:
    made = make_trainer(optimizer, tmp_path)
    schedule: Any = made.create_scheduler(10)
    assert schedule.lr_lambdas[0](0) == 0
    # A warm-up of 2.5 updates, which transformers rounds up.
    assert schedule.lr_lambdas[0](2) == pytest.approx(third_factor)


@pytest.mark.parametrize(("steps", "warns"), [(5, True), (9, True), (10, False)])
def test_warmup_as_long_as_run_is_reported_for_adamw(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: int, warns: bool
) -> None:
    make_trainer("adamw", tmp_path, warmup=9).create_scheduler(steps)
    assert (f"warm-up of 9 updates is not shorter than the run of {steps}" in caplog.text) is warns


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_float16_run_ends_after_30_updates_in_a_row_without_finite_gradients(
    tmp_path: Path, value: float
) -> None:
    trainer = make_trainer("adamw", tmp_path)
    trainer.args.fp16 = True  # Refused by TrainingArguments without a GPU.

    def update(norm: float) -> None:
        trainer._get_grad_norm(trainer.model, torch.tensor(norm))

    for _ in range(3):
        for _ in range(29):
            update(value)
        update(1.0)
    for _ in range(29):
        update(value)
    message = rf"the norm of the gradients of 30 updates in a row is {value}, so the run was stopped"
    with pytest.raises(TrainingError, match=message):
        update(value)


def test_loss_weights_follow_target_counts_of_whole_update() -> None:
    """Of 2 processes and 3 batches each, whose 6 means the Trainer divides by 6."""
    trainer = GlobalBatchTrainer.__new__(GlobalBatchTrainer)
    trainer.loss_names = ("words", "pairs", "places")  # type: ignore[misc]
    trainer.accelerator = SimpleNamespace(num_processes=2)
    trainer.current_gradient_accumulation_steps = 3
    # One labelled word in the whole update is this batch's; of places there are none.
    found = trainer.loss_weights(torch.tensor([1, 4, 0]), torch.tensor([1.0, 32.0, 0.0]))
    assert {name: share.item() for name, share in found.items()} == {
        "words": 6.0,
        "pairs": 0.75,
        "places": 0.0,
    }

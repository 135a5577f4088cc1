"""The trainer of fine-tuning: its order of examples, and the state in which it validates."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lxmert.data.task_examples import IGNORED_LABEL
from lxmert.training.arguments import training_arguments
from lxmert.training.preparation import prepare_task
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import ShuffledSampler
from lxmert.training.task_registry import get_task
from lxmert.training.trainer import FinetuneTrainer, collect_metrics

Make = Callable[..., FinetuneRecipe]


def make_trainer(recipe: FinetuneRecipe, folder: RunFolder) -> FinetuneTrainer:
    prepared = prepare_task(get_task(recipe.task), recipe)
    arguments = training_arguments(recipe.optimisation, recipe.saving, folder.checkpoints, score="accuracy")
    return FinetuneTrainer(recipe, arguments, prepared, folder, ProgressDisplay(enabled=False))


@pytest.mark.parametrize("group_by_length", [True, False])
def test_order_of_examples_follows_recipe(tiny_recipe: Make, tmp_path: Path, group_by_length: bool) -> None:
    optimisation = {"batch_size": 8, "accumulation_steps": 3, "seed": 5, "group_by_length": group_by_length}
    trainer = make_trainer(tiny_recipe(optimisation=optimisation), RunFolder(tmp_path))
    # An update is made of three batches.
    lengths = trainer._prepared.train.lengths
    expected = list(ShuffledSampler(lengths, 24, 5, group_by_length=group_by_length))
    loader: Any = trainer.get_train_dataloader()
    batches = [expected[first : first + 8] for first in range(0, len(expected), 8)]
    assert list(loader.batch_sampler) == batches


def test_validation_is_without_dropout_and_restores_training_mode_and_random_state(
    tiny_recipe: Make, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    trainer = make_trainer(tiny_recipe(), folder)
    folder.checkpoints.mkdir(exist_ok=True)
    trainer.model.train()
    random_state = torch.get_rng_state()
    first, second = trainer.evaluate(), trainer.evaluate()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert first["eval_loss"] == second["eval_loss"]
    assert trainer.model.training


def test_validation_loss_without_labelled_example_is_zero(tiny_recipe: Make, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    trainer = make_trainer(tiny_recipe(), folder)
    folder.checkpoints.mkdir(exist_ok=True)
    collate = trainer._prepared.collate_validation

    def collate_unlabelled(examples: Sequence[Any]) -> dict[str, Any]:
        batch = collate(examples)
        return batch | {"labels": torch.full_like(batch["labels"], IGNORED_LABEL)}

    trainer._prepared = replace(trainer._prepared, collate_validation=collate_unlabelled)
    assert trainer.evaluate()["eval_loss"] == 0


@pytest.mark.parametrize(("best", "accuracy"), [(60.0, 60.0), (None, 50.0)])
def test_reported_accuracy_is_that_of_best_metric_or_else_the_last(
    best: float | None, accuracy: float
) -> None:
    log = [
        {"epoch": epoch, "step": epoch, "eval_loss": 1.0, "eval_accuracy": value}
        for epoch, value in ((1, 60.0), (2, 50.0))
    ]
    state = SimpleNamespace(log_history=log, best_metric=best)
    assert collect_metrics(state, {})["validation_accuracy"] == accuracy

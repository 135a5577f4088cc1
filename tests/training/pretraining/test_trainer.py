"""The trainer of pre-training: its order of sentences, and when it stops early."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxmert.training.arguments import training_arguments
from lxmert.training.early_stopping import EarlyStopping
from lxmert.training.pretraining.preparation import prepare_pretraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.trainer import PretrainingTrainer
from lxmert.training.progress import ProgressDisplay
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import DrawSampler, ShuffledSampler

Make = Callable[..., PretrainRecipe]


def make_trainer(recipe: PretrainRecipe, folder: RunFolder) -> PretrainingTrainer:
    arguments = training_arguments(
        recipe.optimisation, recipe.saving, folder.checkpoints, score="loss", higher_is_better=False
    )
    prepared = prepare_pretraining(recipe)
    return PretrainingTrainer(recipe, arguments, prepared, folder, ProgressDisplay(enabled=False))


@pytest.mark.parametrize("group_by_length", [True, False])
def test_order_of_sentences_follows_recipe(
    tiny_pretrain_recipe: Make, tmp_path: Path, group_by_length: bool
) -> None:
    optimisation = {"batch_size": 8, "accumulation_steps": 3, "seed": 5, "group_by_length": group_by_length}
    trainer = make_trainer(tiny_pretrain_recipe(optimisation=optimisation), RunFolder(tmp_path))
    # An update is made of three batches.
    lengths = trainer._prepared.train.lengths
    expected = list(DrawSampler(ShuffledSampler(lengths, 24, 5, group_by_length=group_by_length), 24))
    loader: Any = trainer.get_train_dataloader()
    batches = [expected[first : first + 8] for first in range(0, len(expected), 8)]
    assert list(loader.batch_sampler) == batches


def test_early_stopping_regards_a_falling_loss_as_better(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    trainer = make_trainer(tiny_pretrain_recipe(saving={"patience": 1}), RunFolder(tmp_path))
    [stop] = [one for one in trainer.callback_handler.callbacks if isinstance(one, EarlyStopping)]
    assert not stop.should_stop([{"eval_loss": 2.0}, {"eval_loss": 1.0}])
    assert stop.should_stop([{"eval_loss": 1.0}, {"eval_loss": 2.0}])

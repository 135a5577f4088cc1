"""The `transformers.Trainer` of a fine-tuning run: its order of examples, its figures."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import EvalPrediction, TrainingArguments

from lxmert.training.log_figures import ACCURACY, FAMILY_PREFIX, accuracy_per_family, epochs_of
from lxmert.training.optimising import GlobalBatchTrainer
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import ShuffledSampler
from lxmert.training.tasks import PreparedTask

# The losses of the tasks' heads; others are means over objects.
_EXAMPLE_LOSSES = ("qa", "pair")


class FinetuneTrainer(GlobalBatchTrainer):
    """A Trainer with the recipe's order of examples and one collator for each data set.

    Args:
        recipe: What to do.
        arguments: The recipe in the Trainer's words.
        prepared: Model, data and metric.
        folder: Where figures go.
        display: Where progress is shown.
    """

    loss_names = (*_EXAMPLE_LOSSES, "obj", "attr", "feat", "place")

    def __init__(
        self,
        recipe: FinetuneRecipe,
        arguments: TrainingArguments,
        prepared: PreparedTask,
        folder: RunFolder,
        display: ProgressDisplay,
    ) -> None:
        self._recipe = recipe
        self._prepared = prepared
        super().__init__(
            recipe.optimisation,
            model=prepared.model,
            args=arguments,
            train_dataset=prepared.train,
            eval_dataset=prepared.validation,
            data_collator=prepared.collate_train,
            compute_metrics=self._score,
            preprocess_logits_for_metrics=_best_class,
        )
        self.watch(display, folder, lambda state: figures_of(state, prepared.facts), recipe.saving.patience)

    def terms_of(self, batch: Mapping[str, Any]) -> Tensor:
        """Labelled examples, and objects that are no padding."""
        labels, real = batch["labels"], batch["visual_attention_mask"] != 0
        labelled = labels >= 0 if labels.ndim == 1 else (labels >= 0).all(dim=1)
        counts = {"examples": labelled.sum(), "objects": real.sum()}
        terms = [counts["examples" if name in _EXAMPLE_LOSSES else "objects"] for name in self.loss_names]
        return torch.stack(terms).float()

    def _get_train_sampler(self, train_dataset: Any = None) -> ShuffledSampler:
        return ShuffledSampler(
            self._prepared.train.lengths,
            self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps,
            self._recipe.optimisation.seed,
            group_by_length=self._recipe.optimisation.group_by_length,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The validation batches, collated with the validation split's own regions."""
        self.data_collator = self._prepared.collate_validation
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = self._prepared.collate_train

    def _score(self, prediction: EvalPrediction) -> dict[str, float]:
        report = self._prepared.score(prediction.predictions.tolist())
        families = {f"{FAMILY_PREFIX}{name}": value for name, value in report.per_family.items()}
        return {ACCURACY: report.accuracy, **families}


def figures_of(state: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run from the trainer's log, which checkpoints carry along.

    Args:
        state: The Trainer's state.
        facts: Figures about data and model.
    """
    epochs = [
        {
            "epoch": epoch["epoch"],
            "step": epoch["step"],
            "train_loss": epoch["train"].get("loss"),
            "validation_loss": epoch["validation"]["loss"],
            "validation_accuracy": epoch["validation"][ACCURACY],
            "validation_accuracy_per_family": accuracy_per_family(epoch["validation"]),
        }
        for epoch in epochs_of(state.log_history, ACCURACY)
    ]
    last = epochs[-1]["validation_accuracy"] if epochs else None
    kept = last if state.best_metric is None else state.best_metric
    return {"data": facts, "validation_accuracy": kept, "epochs": epochs}


def _best_class(logits: Any, labels: Tensor) -> Tensor:
    """The answer scores come first among the model's outputs; of them only the best class is kept."""
    scores: Tensor = logits[0] if isinstance(logits, tuple | list) else logits
    return scores.argmax(dim=-1)

"""The `transformers.Trainer` of a fine-tuning run: its order of examples, its metrics.

Shapes: N validation examples, L losses.
"""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from lxmert.training.base_trainer import GlobalBatchTrainer
from lxmert.training.even_batches import FilledCollator, FilledDataset, FilledSampler
from lxmert.training.log_history import ACCURACY, FAMILY_PREFIX, accuracy_per_family, epochs_from_log
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import ShuffledSampler
from lxmert.training.tasks import PreparedTask
from lxmert.training.validation_batches import validation_batches

# The losses of the tasks' heads; others are means over objects.
_EXAMPLE_LOSSES = ("qa", "pair")


class FinetuneTrainer(GlobalBatchTrainer):
    """A Trainer with the recipe's order of examples and one collator for each data set.

    Args:
        recipe: The recipe.
        arguments: The recipe as the Trainer's arguments.
        prepared: Model, data and metric.
        folder: The folder for the metrics.
        display: Shows the progress.
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
        self._display = display
        super().__init__(
            recipe.optimisation,
            model=prepared.model,
            args=arguments,
            train_dataset=FilledDataset(prepared.train),
            eval_dataset=prepared.validation,
            data_collator=FilledCollator(prepared.collate_train),
        )
        self.add_callbacks(
            display, folder, lambda state: collect_metrics(state, prepared.metadata), recipe.saving.patience
        )

    def count_terms(self, batch: Mapping[str, Any]) -> Tensor:
        """The numbers of labelled examples, and of objects that are not padding."""
        labels, real = batch["labels"], batch["visual_attention_mask"] != 0
        labelled = labels >= 0 if labels.ndim == 1 else (labels >= 0).all(dim=1)
        counts = {"examples": labelled.sum(), "objects": real.sum()}
        terms = [counts["examples" if name in _EXAMPLE_LOSSES else "objects"] for name in self.loss_names]
        return torch.stack(terms).float()

    def _get_train_sampler(self, train_dataset: Any = None) -> FilledSampler:
        global_batch = self.args.train_batch_size * self.args.world_size
        order = ShuffledSampler(
            self._prepared.train.lengths,
            global_batch * self.args.gradient_accumulation_steps,
            self._recipe.optimisation.seed,
            group_by_length=self._recipe.optimisation.group_by_length,
        )
        # Only a single process may end an epoch with a short batch.
        return FilledSampler(order, global_batch if self.args.world_size > 1 else 1)

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the validation examples, divided among processes; each loss is the mean over all of them."""
        start = time.perf_counter()
        advance = self._display.start("Validation", len(self._prepared.validation))
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        labels = torch.zeros(len(self._prepared.validation), dtype=torch.int64)
        sums = torch.zeros(2, len(self.loss_names), dtype=torch.float64)
        try:
            for rows, batch in validation_batches(
                self._prepared.validation,
                self._prepared.collate_validation,
                self.args.per_device_eval_batch_size,
                rank=self.args.process_index,
                ranks=self.args.world_size,
                loader_processes=self.args.dataloader_num_workers,
            ):
                batch = self._prepare_inputs(batch)
                with self.compute_loss_context_manager():
                    outputs = model(**batch)
                labels[rows] = outputs[1].argmax(dim=-1).cpu()
                terms = self.count_terms(batch).cpu().double()
                losses = [float(outputs.losses.get(name, 0.0)) for name in self.loss_names]
                sums += torch.stack([torch.tensor(losses, dtype=torch.float64) * terms, terms])
                advance(len(rows) * self.args.world_size)
        finally:
            model.train(was_training)
        if self.accelerator.num_processes > 1:
            labels, sums = (
                self.accelerator.reduce(part.to(self.args.device), "sum").cpu() for part in (labels, sums)
            )
        report = self._prepared.score(labels.tolist())
        metrics = {"loss": float((sums[0] / sums[1].clamp(min=1)).sum()), ACCURACY: report.accuracy}
        metrics |= {f"{FAMILY_PREFIX}{name}": value for name, value in report.per_family.items()}
        return self.log_evaluation(metrics | {"runtime": time.perf_counter() - start})


def collect_metrics(state: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a run from the trainer's log, which checkpoints include.

    Args:
        state: The Trainer's state.
        metadata: Figures about data and model.
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
        for epoch in epochs_from_log(state.log_history, ACCURACY)
    ]
    last = epochs[-1]["validation_accuracy"] if epochs else None
    best = last if state.best_metric is None else state.best_metric
    return {"data": metadata, "validation_accuracy": best, "epochs": epochs}

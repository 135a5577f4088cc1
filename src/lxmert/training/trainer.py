"""The `transformers.Trainer` of a fine-tuning run: its arguments, its order of examples, its figures."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import is_tensorboard_available

from lxmert.training.progress import ACCURACY_KEY, FAMILY_PREFIX, ProgressDisplay, TrainingProgress
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import ShuffledSampler
from lxmert.training.tasks import PreparedTask

# A Trainer's log puts this before the name of every validation figure.
_LOG_PREFIX = "eval_"


class FinetuneTrainer(Trainer):
    """A Trainer with the recipe's order of examples and one collator for each data set.

    Args:
        recipe: What to do.
        arguments: The recipe in the Trainer's words.
        prepared: Model, data and metric.
        folder: Where figures go.
        display: Where progress is shown.
    """

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
            model=prepared.model,
            args=arguments,
            train_dataset=prepared.train,
            eval_dataset=prepared.validation,
            data_collator=prepared.collate_train,
            compute_metrics=self._score,
            preprocess_logits_for_metrics=_best_class,
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(TrainingProgress(display))
        self.add_callback(_SaveMetrics(folder, prepared.facts))

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
        figures = {ACCURACY_KEY: report.accuracy, **families}
        return {name.removeprefix(_LOG_PREFIX): value for name, value in figures.items()}


class _SaveMetrics(TrainerCallback):
    """Writes metrics.json after each evaluation, so that an interrupted run shows how far it came."""

    def __init__(self, folder: RunFolder, facts: dict[str, Any]) -> None:
        self._folder = folder
        self._facts = facts

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._folder.write_metrics(figures_of(state, self._facts))


def figures_of(state: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run from the trainer's log, which checkpoints carry along.

    Args:
        state: The Trainer's state.
        facts: Figures about data and model.
    """
    epochs: list[dict[str, Any]] = []
    train_loss: float | None = None
    for entry in state.log_history:
        train_loss = entry.get("loss", train_loss)
        if ACCURACY_KEY in entry:
            families = {
                name.removeprefix(FAMILY_PREFIX): value
                for name, value in entry.items()
                if name.startswith(FAMILY_PREFIX)
            }
            epochs.append(
                {
                    "epoch": entry["epoch"],
                    "step": entry["step"],
                    "train_loss": train_loss,
                    "validation_loss": entry["eval_loss"],
                    "validation_accuracy": entry[ACCURACY_KEY],
                    "validation_accuracy_per_family": families,
                }
            )
    last = epochs[-1]["validation_accuracy"] if epochs else None
    kept = last if state.best_metric is None else state.best_metric
    return {"data": facts, "validation_accuracy": kept, "epochs": epochs}


def training_arguments(recipe: FinetuneRecipe, checkpoints: Path) -> TrainingArguments:
    """The recipe in the Trainer's words."""
    optimisation, saving = recipe.optimisation, recipe.saving
    best = saving.select == "best"
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=optimisation.epochs,
        per_device_train_batch_size=optimisation.batch_size,
        per_device_eval_batch_size=recipe.evaluation.batch_size,
        gradient_accumulation_steps=optimisation.accumulation_steps,
        learning_rate=optimisation.peak_learning_rate,
        lr_scheduler_type=optimisation.schedule,
        warmup_steps=optimisation.warmup,
        weight_decay=optimisation.weight_decay,
        adam_beta2=optimisation.adam_beta2,
        adam_epsilon=optimisation.adam_epsilon,
        max_grad_norm=optimisation.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=optimisation.seed,
        bf16=optimisation.precision == "bfloat16",
        # Said explicitly, because half precision is refused on a CPU that was not asked for.
        use_cpu=not torch.accelerator.is_available(),
        fp16=optimisation.precision == "float16",
        torch_compile=optimisation.compile,
        eval_strategy="epoch",
        save_strategy="epoch" if saving.checkpoint_every_steps is None else "steps",
        save_steps=saving.checkpoint_every_steps or 500,
        save_total_limit=saving.keep_checkpoints,
        load_best_model_at_end=best,
        metric_for_best_model="accuracy" if best else None,
        greater_is_better=True if best else None,
        logging_steps=saving.log_every_steps,
        # Batches are a few look-ups in memory: loader processes would only cost.
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=["tensorboard"] if is_tensorboard_available() else [],
        disable_tqdm=True,
        log_level="error",
    )


def _best_class(logits: Any, labels: Tensor) -> Tensor:
    """The answer scores come first among the model's outputs; of them only the best class is kept."""
    scores: Tensor = logits[0] if isinstance(logits, tuple | list) else logits
    return scores.argmax(dim=-1)

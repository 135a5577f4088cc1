"""The `transformers.Trainer` that all training here builds on: optimisers, metrics, losses of global batches.

The losses of the models are means over a batch: over its words, questions, objects. Several processes, or
several batches per update, must have the loss of one large batch; so each mean is weighted by its share of
the terms of the whole update, which are counted in the targets alone.

Shapes: L losses.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PrinterCallback, Trainer, TrainerControl

from lxmert.errors import TrainingError
from lxmert.training.bert_adam import BertAdam, bert_adam_schedule
from lxmert.training.cpu.clipping import clip_gradients
from lxmert.training.early_stopping import EarlyStopping
from lxmert.training.log_history import LOG_PREFIX
from lxmert.training.progress import ProgressDisplay, TrainingProgressCallback
from lxmert.training.recipe_sections import LoopSection
from lxmert.training.run_folder import RunFolder, delete_old_checkpoints, translate_write_errors
from lxmert.training.running import SaveMetricsCallback
from lxmert.training.sampling import SetEpochCallback

logger = logging.getLogger(__name__)

# Updates in float16 that may be skipped in a row. Each halves the scale of the gradients, 2^16 at first,
# until they are in range; after 30 it is 2^-14, so that the gradients themselves must be infinite or NaN.
_MAX_SKIPPED_UPDATES = 30


class BaseTrainer(Trainer):
    """A Trainer whose optimiser is the recipe's: AdamW, or BertAdam with its own schedule and decay.

    Args:
        optimisation: the recipe's optimisation.
        **settings: arguments of `transformers.Trainer`.
    """

    control: TrainerControl
    optimizer: Optimizer
    lr_scheduler: LRScheduler | None

    def __init__(self, optimisation: LoopSection, **settings: Any) -> None:
        self._optimisation = optimisation
        self._skipped_updates = 0
        if self._uses_bert_adam:
            kwargs = {"lr": optimisation.peak_learning_rate, "eps": optimisation.adam_epsilon}
            betas = (0.9, optimisation.adam_beta2)
            settings["optimizer_cls_and_kwargs"] = (BertAdam, kwargs | {"betas": betas})
        super().__init__(**settings)
        self.add_callback(SetEpochCallback)

    @property
    def _uses_bert_adam(self) -> bool:
        return self._optimisation.optimizer == "bert_adam"

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Names of the parameters with decay: matrices and embeddings; with BertAdam all."""
        if self._uses_bert_adam:
            return [name for name, _ in model.named_parameters()]
        names: list[str] = super().get_decay_parameter_names(model)
        return names

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        """Create the learning rate schedule.

        Raises:
            ConfigurationError: the warm-up is as long as the whole run, which BertAdam's schedules refuse.
        """
        if self._uses_bert_adam and self.lr_scheduler is None:
            self.lr_scheduler = bert_adam_schedule(
                optimizer or self.optimizer,
                self._optimisation.schedule,
                self._optimisation.warmup,
                num_training_steps,
            )
            self._created_lr_scheduler = True
            return self.lr_scheduler
        warmup = self._optimisation.warmup
        if warmup >= num_training_steps and self.is_world_process_zero():
            logger.warning(
                "the warm-up of %g updates is not shorter than the run of %d: the learning rate never "
                "reaches optimisation.peak_learning_rate",
                warmup,
                num_training_steps,
            )
        scheduler: LRScheduler = super().create_scheduler(num_training_steps, optimizer)
        return scheduler

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """As `transformers.Trainer`, but faster on a CPU."""
        if self.args.device.type == "cpu":
            return clip_gradients(model.parameters(), self.args.max_grad_norm)
        return super()._clip_grad_norm(model)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As `transformers.Trainer`, but delete older ones only when all processes have written this one.

        Raises:
            TrainingError: it cannot be written; older ones are still there.
        """
        step, count = self.state.global_step, self.args.save_total_limit
        self.args.save_total_limit = None
        with translate_write_errors(f"the checkpoint of step {step}"):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if count is not None and self.args.should_save:
                checkpoint = Path(self.args.output_dir) / f"checkpoint-{step}"
                delete_old_checkpoints(checkpoint, count, self.state.best_model_checkpoint)
        self.args.save_total_limit = count

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """As `transformers.Trainer`, but a norm that is not finite ends the run before the update.

        The norm is that of all processes together, so that all of them end.

        In float16 the Trainer skips such an update and scales the gradients less, so that only many of them
        in a row end the run.

        Raises:
            TrainingError: the norm is not finite; in float16, in `_MAX_SKIPPED_UPDATES` updates in a row.
        """
        norm = super()._get_grad_norm(model, grad_norm)
        value = float(norm)
        if not self.args.fp16:
            self._check_finite("norm of the gradients", value)
            return norm
        self._skipped_updates = 0 if math.isfinite(value) else self._skipped_updates + 1
        if self._skipped_updates >= _MAX_SKIPPED_UPDATES:
            self._check_finite(f"norm of the gradients of {self._skipped_updates} updates in a row", value)
        return norm

    def _check_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"after step {self.state.global_step} the {name} is {value}, so the run was stopped; "
                "start again in another folder with a lower optimisation.peak_learning_rate, a longer "
                "warmup or a lower max_gradient_norm, and check the features for NaN"
            )

    def add_callbacks(
        self,
        display: ProgressDisplay,
        folder: RunFolder,
        build_metrics: Callable[[Any], dict[str, Any]],
        patience: int | None,
        describe: Callable[[dict[str, float]], str | None] | None = None,
    ) -> None:
        """Show the run, save its metrics after each evaluation, and optionally stop it early.

        Args:
            display: shows the progress.
            folder: the folder for the metrics.
            build_metrics: from the Trainer's state to the contents of metrics.json.
            patience: evaluations in a row without a new best score before stopping; None for never.
            describe: see `TrainingProgressCallback`.
        """
        self.remove_callback(PrinterCallback)
        self.add_callback(TrainingProgressCallback(display, describe))
        self.add_callback(SaveMetricsCallback(folder, build_metrics))
        if patience is not None:
            score = f"{LOG_PREFIX}{self.args.metric_for_best_model}"
            self.add_callback(
                EarlyStopping(score, patience, higher_is_better=bool(self.args.greater_is_better))
            )

    def log_evaluation(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Log the metrics of an evaluation and notify the callbacks; returns them with the log's names.

        Raises:
            TrainingError: the loss is not finite.
        """
        self._check_finite("validation loss", metrics.get("loss", 0.0))
        prefixed = {f"{LOG_PREFIX}{name}": value for name, value in metrics.items()}
        self.log(prefixed)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, prefixed)
        return prefixed


class GlobalBatchTrainer(BaseTrainer):
    """A Trainer whose losses are means over all processes and batches of an update.

    A model's loss is the mean over n terms of one batch, such as labelled words, of N in the whole update.
    So its weight in the global mean is n / N, times processes times batches, because processes average their
    gradients and the Trainer divides by the number of batches; see `loss_weights`.

    A subclass names the losses and counts their terms.
    """

    loss_names: ClassVar[tuple[str, ...]]
    """Names of the losses in the model's output."""

    def count_terms(self, batch: Mapping[str, Any]) -> Tensor:
        """The number of terms of each loss in a batch, (L,)."""
        raise NotImplementedError

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The batches of one update, and the numbers of terms in all processes' batches, (L,)."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        terms = torch.zeros(len(self.loss_names), device=device)
        for batch in batches:
            terms += self.count_terms(batch).to(device)
        return batches, self.accelerator.reduce(terms, "sum")

    def loss_weights(self, terms: Tensor, total_terms: Tensor) -> Mapping[str, Tensor]:
        """The factor of each loss, by name, that makes it a part of the global mean.

        Args:
            terms: `count_terms` one batch of the update, (L,).
            total_terms: the numbers counted by `get_batch_samples`, (L,).
        """
        # The gradients of processes are averaged, and the Trainer divides by the number of batches.
        repeats = self.accelerator.num_processes * self.current_gradient_accumulation_steps
        weights = terms.to(total_terms) / total_terms.clamp(min=1) * repeats
        return dict(zip(self.loss_names, weights, strict=True))

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The sum of the losses, during training of means over the global batch."""
        outputs = model(**inputs)
        loss = outputs.loss
        if num_items_in_batch is not None:
            weights = self.loss_weights(self.count_terms(inputs), num_items_in_batch)
            loss = torch.stack([weights[name] * value for name, value in outputs.losses.items()]).sum()
        return (loss, outputs) if return_outputs else loss

"""The `transformers.Trainer` of pre-training: losses of all tasks over the global batch, and their figures.

Shapes: T tasks.
"""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from lxmert.errors import ConfigurationError
from lxmert.training.base_trainer import GlobalBatchTrainer
from lxmert.training.pretraining.evaluation import evaluate_pretraining
from lxmert.training.pretraining.hits import count_hits
from lxmert.training.pretraining.metrics import collect_metrics, format_validation
from lxmert.training.pretraining.preparation import PreparedPretraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.target_counts import TASK_INDEX, TASKS, count_targets
from lxmert.training.progress import ProgressDisplay
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import DrawSampler, ShuffledSampler


class PretrainingTrainer(GlobalBatchTrainer):
    """A Trainer whose loss is that of all tasks over the global batch.

    Args:
        recipe: the recipe.
        arguments: the recipe as the Trainer's arguments.
        prepared: model and data.
        folder: the folder for the figures.
        display: shows the progress.
    """

    loss_names = tuple(TASKS.values())

    def __init__(
        self,
        recipe: PretrainRecipe,
        arguments: TrainingArguments,
        prepared: PreparedPretraining,
        folder: RunFolder,
        display: ProgressDisplay,
    ) -> None:
        self._recipe = recipe
        self._prepared = prepared
        self._display = display
        self._since_last_log = torch.zeros(4, len(TASKS))
        super().__init__(
            recipe.optimisation,
            model=prepared.model,
            args=arguments,
            train_dataset=prepared.train,
            eval_dataset=prepared.validation.dataset,
            data_collator=prepared.collate,
        )
        metadata, baselines = prepared.metadata, prepared.baselines
        self.add_callbacks(
            display,
            folder,
            lambda state: collect_metrics(state, metadata, baselines),
            recipe.saving.patience,
            lambda metrics: format_validation(metrics, baselines),
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> DrawSampler:
        optimisation = self._recipe.optimisation
        examples_per_step = (
            self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        )
        sentences = len(self._prepared.train)
        if sentences < examples_per_step:
            raise ConfigurationError(
                f"the {sentences:,} training sentences do not fill one update of {examples_per_step:,}; "
                "lower optimisation.batch_size or accumulation_steps"
            )
        order = ShuffledSampler(
            self._prepared.train.lengths,
            examples_per_step,
            optimisation.seed,
            group_by_length=optimisation.group_by_length,
        )
        return DrawSampler(order, examples_per_step)

    def count_terms(self, batch: Mapping[str, Any]) -> Tensor:
        """See `count_targets`; (T,)."""
        return count_targets(batch).terms

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted sum of the tasks' losses, as means over the global batch."""
        if not self._is_qa_active():
            inputs = {name: value for name, value in inputs.items() if name != "ans"}
        outputs = model(**inputs, return_all_logits=False)
        counts = count_targets(inputs)
        loss_weights = self.loss_weights(counts.terms, num_items_in_batch)
        loss = torch.zeros((), device=self.args.device)
        sums, weights = torch.zeros_like(counts.terms), torch.zeros_like(counts.terms)
        for task, name in TASKS.items():
            if name in outputs.losses:
                index = TASK_INDEX[task]
                loss = loss + self._prepared.weights[task] * loss_weights[name] * outputs.losses[name]
                mean = outputs.losses[name].detach() / self._prepared.factors[task]
                sums[index], weights[index] = mean * counts.terms[index], counts.weights[index]
        self._accumulate(sums, weights, *count_hits(outputs, inputs))
        return (loss, outputs) if return_outputs else loss

    def _is_qa_active(self) -> bool:
        """Whether the run has reached the step at which question answering starts."""
        return self.state.global_step >= self._recipe.tasks.qa_from * self.state.max_steps

    @torch.no_grad()
    def _accumulate(self, *figures: Tensor) -> None:
        self._since_last_log = self._since_last_log.to(self.args.device) + torch.stack(figures)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Write figures to the log; with the loss, the tasks' losses and accuracies since the last log."""
        if "loss" in logs:
            sums, weights, correct, total = self.accelerator.reduce(self._since_last_log, "sum").tolist()
            for task, index in TASK_INDEX.items():
                if weights[index]:
                    logs[f"loss_{task}"] = sums[index] / weights[index]
                if total[index]:
                    logs[f"accuracy_{task}"] = 100 * correct[index] / total[index]
            self._since_last_log.zero_()
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the validation examples, always on the same masks and pairs."""
        start = time.perf_counter()
        model = self.accelerator.unwrap_model(self.model)
        report = evaluate_pretraining(
            model,
            self._prepared.validation,
            self._prepared.weights,
            self.accelerator,
            self._display.start,
        )
        return self.log_evaluation(report.flatten() | {"runtime": time.perf_counter() - start})

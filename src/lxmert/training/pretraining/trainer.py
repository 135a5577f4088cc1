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
from lxmert.training.optimising import GlobalBatchTrainer
from lxmert.training.pretraining.amounts import TASK_INDEX, TASKS, amounts_of
from lxmert.training.pretraining.evaluation import evaluate_pretraining
from lxmert.training.pretraining.figures import describe, figures_of
from lxmert.training.pretraining.hits import hits_of
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.task import PreparedPretraining
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
        facts, constants = prepared.facts, prepared.constants
        self.watch(
            display,
            folder,
            lambda state: figures_of(state, facts, constants),
            recipe.saving.patience,
            lambda metrics: describe(metrics, constants),
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

    def terms_of(self, batch: Mapping[str, Any]) -> Tensor:
        """See `amounts_of`; (T,)."""
        return amounts_of(batch).terms

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted sum of the tasks' losses, as means over the global batch."""
        if not self._learns_qa():
            inputs = {name: value for name, value in inputs.items() if name != "ans"}
        outputs = model(**inputs, return_all_logits=False)
        amounts = amounts_of(inputs)
        shares = self.shares(amounts.terms, num_items_in_batch)
        loss = torch.zeros((), device=self.args.device)
        sums, weights = torch.zeros_like(amounts.terms), torch.zeros_like(amounts.terms)
        for task, name in TASKS.items():
            if name in outputs.losses:
                index = TASK_INDEX[task]
                loss = loss + self._prepared.weights[task] * shares[name] * outputs.losses[name]
                mean = outputs.losses[name].detach() / self._prepared.factors[task]
                sums[index], weights[index] = mean * amounts.terms[index], amounts.weights[index]
        self._add(sums, weights, *hits_of(outputs, inputs))
        return (loss, outputs) if return_outputs else loss

    def _learns_qa(self) -> bool:
        """Whether the run has reached the step at which question answering starts."""
        return self.state.global_step >= self._recipe.tasks.qa_from * self.state.max_steps

    @torch.no_grad()
    def _add(self, *figures: Tensor) -> None:
        self._since_last_log = self._since_last_log.to(self.args.device) + torch.stack(figures)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Write figures to the log; with the loss, the tasks' losses and accuracies since the last log."""
        if "loss" in logs:
            sums, weights, right, total = self.accelerator.reduce(self._since_last_log, "sum").tolist()
            for task, index in TASK_INDEX.items():
                if weights[index]:
                    logs[f"loss_{task}"] = sums[index] / weights[index]
                if total[index]:
                    logs[f"accuracy_{task}"] = 100 * right[index] / total[index]
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
        return self.announce(report.flat() | {"runtime": time.perf_counter() - start})

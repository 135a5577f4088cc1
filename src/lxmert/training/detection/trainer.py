"""The `transformers.Trainer` of a detector's training: its loss, its order of images, its metrics."""

import time
from typing import Any

from rich.markup import escape
from torch import Tensor
from transformers import TrainingArguments

from lxmert.training.base_trainer import BaseTrainer
from lxmert.training.detection.collation import collate
from lxmert.training.detection.dataset import EpochSampler
from lxmert.training.detection.evaluation import report_metrics, score_detector
from lxmert.training.detection.preparation import PreparedDetection
from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.training.log_history import epochs_from_log, validation_metrics
from lxmert.training.progress import ProgressDisplay
from lxmert.training.run_folder import RunFolder
from lxmert.training.sampling import ShuffledSampler

SELECTION_METRIC = "map_50"
"""The metric that selects the best epoch: mean average precision at an overlap of 0.5, in percent."""

_PER_CLASS = "average_precision_50"
_WORST_CLASSES_SHOWN = 10


class DetectionTrainer(BaseTrainer):
    """A Trainer with the recipe's order of images and detection metrics.

    Args:
        recipe: the recipe.
        arguments: the recipe as the Trainer's arguments.
        prepared: model and data.
        folder: the folder for the metrics.
        display: shows the progress.
    """

    def __init__(
        self,
        recipe: DetectorRecipe,
        arguments: TrainingArguments,
        prepared: PreparedDetection,
        folder: RunFolder,
        display: ProgressDisplay,
    ) -> None:
        self._recipe = recipe
        self._prepared = prepared
        self._display = display
        self._loss_sums: dict[str, Tensor] = {}
        self._batch_count = 0
        super().__init__(
            recipe.optimisation,
            model=prepared.model,
            args=arguments,
            train_dataset=prepared.train,
            eval_dataset=prepared.validation,
            data_collator=collate,
        )
        patience = recipe.saving.patience
        self.add_callbacks(
            display,
            folder,
            lambda state: collect_metrics(state, prepared.metadata),
            patience,
            _format_metrics,
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        # Pictures of similar aspect ratio side by side, so that little is padded.
        shapes = [round(100 * image.size_hw[0] / image.size_hw[1]) for image in self._prepared.train.images]
        order = ShuffledSampler(
            shapes,
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            self._recipe.optimisation.seed,
            group_by_length=True,
        )
        return EpochSampler(order)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """The weighted sum of the losses; its parts are kept for the log."""
        outputs = model(**inputs)
        for name, value in outputs.parts.items():
            self._loss_sums[name] = self._loss_sums.get(name, 0) + value
        self._batch_count += 1
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Write metrics to the log; with the loss, the mean of each of its parts since the last log."""
        if "loss" in logs and self._batch_count:
            means = {
                f"loss_{name}": float(value) / self._batch_count for name, value in self._loss_sums.items()
            }
            logs = logs | means
            self._loss_sums, self._batch_count = {}, 0
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the validation images, one by one."""
        start = time.perf_counter()
        images = self._prepared.validation
        advance = self._display.start("Validation", len(images))
        model = self.accelerator.unwrap_model(self.model)
        report = score_detector(model, images, self._recipe.evaluation.max_detections, advance)
        values = report_metrics(report, self._prepared.vocabulary.objects.names)
        values |= {f"{_PER_CLASS}/{name}": value for name, value in values.pop(_PER_CLASS).items()}
        values["runtime"] = time.perf_counter() - start
        return self.log_evaluation({name: value for name, value in values.items() if value is not None})


def collect_metrics(state: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a run from the trainer's log, which checkpoints include.

    Args:
        state: the Trainer's state.
        metadata: figures about data and model.
    """
    epochs = epochs_from_log(state.log_history, SELECTION_METRIC)
    last = epochs[-1]["validation"][SELECTION_METRIC] if epochs else None
    best = last if state.best_metric is None else state.best_metric
    return {"data": metadata, "validation_map_50": best, "epochs": epochs}


def _format_metrics(metrics: dict[str, float]) -> str | None:
    """Format an evaluation for the display."""
    values = validation_metrics(metrics)
    if SELECTION_METRIC not in values:
        return None
    per_class = {
        name.partition("/")[2]: value for name, value in values.items() if name.startswith(f"{_PER_CLASS}/")
    }
    worst = sorted(per_class.items(), key=lambda item: item[1])[:_WORST_CLASSES_SHOWN]
    parts = [f"mAP@0.5 [bold]{values[SELECTION_METRIC]:.2f} %[/bold]"]
    if "attribute_accuracy" in values:
        parts.append(f"attributes [bold]{values['attribute_accuracy']:.2f} %[/bold]")
    parts.append(f"recall {values['recall_50']:.2f} %")
    return "  ".join([*parts, *(f"{escape(name)} {value:.1f}" for name, value in worst)])

"""The steps around the trainer in every run: open the folder, resume, save metrics, write weights."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.markup import escape
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from lxmert._version import __version__
from lxmert.atomic_files import follow_umask, fsync_path
from lxmert.errors import one_line
from lxmert.training.cpu.memory import keep_freed_memory
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe_base import Recipe
from lxmert.training.recipe_sections import LoopSection
from lxmert.training.resuming import correct_best_checkpoint_path, restore_finished_run
from lxmert.training.run_folder import RunFolder, translate_write_errors
from lxmert.weights.report import quiet_transformers

logger = logging.getLogger(__name__)


def run_in_folder(
    recipe: Recipe,
    folder: RunFolder,
    train: Callable[[ProgressDisplay], dict[str, Any]],
    *,
    resume: bool,
    progress: bool,
) -> dict[str, Any]:
    """Run a recipe in its folder, unless a finished run is there.

    Args:
        recipe: the recipe.
        folder: the run's folder.
        train: does the training and returns the metrics.
        resume: True continues the run in the folder, or starts one and prints a note if there is none.
        progress: True shows progress bars on standard error.

    Returns:
        The contents of metrics.json.

    Raises:
        ConfigurationError: the folder is not empty and `resume` is False, or holds the run of another
            recipe or of another number of processes, or another process runs there.
    """
    has_nothing_to_resume = resume and not folder.has_run()
    with folder.open(recipe, resume=resume) if is_main_process() else nullcontext():
        metrics = folder.read_metrics()
        if metrics.get("finished"):
            return metrics
        display = ProgressDisplay(enabled=progress and is_main_process())
        with display, quiet_transformers(warnings_too=False):
            if has_nothing_to_resume:
                shown = escape(one_line(str(folder.path)))
                display.print(f"note: {shown} has no run to resume; starting a new one")
            metrics = train(display) | {"finished": True}
        if not is_main_process():
            return metrics
        # A finished run is never repeated, so it must survive a power failure.
        with translate_write_errors(f"the model in {folder.path}"):
            fsync_path(folder.path)
        folder.write_metrics(metrics)
        return folder.read_metrics()


def is_main_process() -> bool:
    """True for the process that writes, among those started by `accelerate launch` or `torchrun`."""
    return os.environ.get("RANK", "0") == "0"


def set_threads(count: int | None) -> None:
    """Set the number of CPU threads; None leaves torch's choice."""
    if count is not None:
        torch.set_num_threads(count)


def set_up_process(threads: int | None) -> None:
    """Set the process up for training: number of CPU threads (None leaves torch's choice), and memory.

    Without an accelerator, freed memory stays with the process, see `keep_freed_memory`.
    """
    set_threads(threads)
    if not torch.accelerator.is_available():
        keep_freed_memory()


def train_or_resume(
    trainer: Trainer,
    folder: RunFolder,
    optimisation: LoopSection,
    examples: str,
    fingerprints: Mapping[str, str],
) -> dict[str, Any]:
    """Train to the end, from the newest checkpoint if there is one.

    Args:
        trainer: the trainer.
        folder: the folder with the checkpoints.
        optimisation: determines the number of examples per step.
        examples: the name of what is counted, such as "questions".
        fingerprints: of the parts of the data, by name; a checkpoint is resumed with the same data only.

    Returns:
        Facts about the training; the speed is that of this process, validation included.

    Raises:
        ConfigurationError: the checkpoint is of other data.
    """
    checkpoint = folder.newest_checkpoint()
    if checkpoint is not None:
        folder.check_fingerprints(fingerprints)
    if is_main_process():
        all_checkpoints = folder.all_checkpoints()
        if checkpoint is None and all_checkpoints:
            logger.warning("%s: no complete checkpoint; the run starts over", folder.path)
        elif checkpoint is not None and checkpoint != all_checkpoints[0]:
            logger.warning(
                "%s is incomplete or damaged; the run continues from %s", all_checkpoints[0], checkpoint.name
            )
        folder.save_process_count()
        folder.save_fingerprints(fingerprints)
    start_step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
    started_at = time.perf_counter()
    if checkpoint is not None and is_main_process():
        correct_best_checkpoint_path(checkpoint)
    if checkpoint is None or not restore_finished_run(trainer, checkpoint):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.perf_counter() - started_at
    steps = trainer.state.global_step
    per_step = optimisation.batch_size * optimisation.accumulation_steps * trainer.args.world_size
    examples_done = (steps - start_step) * per_step
    return {
        "steps": steps,
        "resumed_at_step": start_step or None,
        "seconds": round(seconds, 1),
        f"{examples}_per_second": round(examples_done / seconds, 1),
        "processes": trainer.args.world_size,
        "threads": torch.get_num_threads(),
        "lxmert": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def save_weights(model: PreTrainedModel, folder: Path, weights_dtype: str) -> None:
    """Write config.json and model.safetensors.

    Weights may be stored in half precision, but config.json keeps saying float32, so that they are loaded as
    float32: half precision is a matter of size on disk here, not of arithmetic. Of several processes only the
    first writes.

    Args:
        model: the trained model, float32.
        folder: the folder to write to.
        weights_dtype: "float32", "float16" or "bfloat16".

    Raises:
        TrainingError: they cannot be written.
    """
    if not is_main_process():
        return
    dtype: torch.dtype = getattr(torch, weights_dtype)
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    with translate_write_errors(f"the model in {folder}"):
        model.save_pretrained(folder, state_dict=tensors)
        for path in folder.glob("*.safetensors"):
            follow_umask(path)


class SaveMetricsCallback(TrainerCallback):
    """Writes metrics.json after each evaluation, so that an interrupted run shows its progress.

    The training loss is logged before each evaluation and checkpoint, so that the metrics include all of it.
    A checkpoint of an epoch's last step is saved after the epoch's evaluation: a run resumed from one saved
    before it would skip the evaluation and the random numbers that it draws.

    Args:
        folder: the run's folder.
        build_metrics: from the Trainer's state to the contents of metrics.json.
    """

    def __init__(self, folder: RunFolder, build_metrics: Callable[[Any], dict[str, Any]]) -> None:
        self._folder = folder
        self._build_metrics = build_metrics
        self._saves_after_epoch = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log as often as the recipe says now, whatever a resumed run's checkpoint says."""
        state.logging_steps = args.logging_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the loss if an evaluation or a checkpoint follows."""
        ends_epoch = state.epoch.is_integer() or state.global_step >= state.max_steps
        if control.should_save and ends_epoch and args.eval_strategy == IntervalStrategy.EPOCH:
            control.should_save, self._saves_after_epoch = False, True
        self._log_first(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the loss, and save the checkpoint that was postponed."""
        control.should_save = control.should_save or self._saves_after_epoch
        self._saves_after_epoch = False
        self._log_first(control)

    @staticmethod
    def _log_first(control: Any) -> None:
        control.should_log = control.should_log or control.should_evaluate or control.should_save

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the metrics so far."""
        if state.is_world_process_zero:
            self._folder.write_metrics(self._build_metrics(state))

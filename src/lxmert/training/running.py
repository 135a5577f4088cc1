"""What every training run does around its trainer: open the folder, resume, keep figures, write weights."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from lxmert._version import __version__
from lxmert.training.cpu.memory import keep_freed_memory
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe_base import Recipe
from lxmert.training.recipe_sections import LoopSection
from lxmert.training.resuming import correct_paths, restore_ended
from lxmert.training.run_folder import RunFolder, writing
from lxmert.weights.report import quiet_transformers
from lxmert.whole_files import sync_files

logger = logging.getLogger(__name__)

_WEIGHTS_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def run_in_folder(
    recipe: Recipe,
    folder: RunFolder,
    work: Callable[[ProgressDisplay], dict[str, Any]],
    *,
    resume: bool,
    progress: bool,
) -> dict[str, Any]:
    """Run a recipe in its folder, unless it ran there to its end before.

    Args:
        recipe: what to do.
        folder: where.
        work: does it and returns the figures.
        resume: True goes on with what lies in the folder.
        progress: True shows progress bars on standard error.

    Returns:
        What metrics.json holds.

    Raises:
        ConfigurationError: the folder is not empty and `resume` is False, or holds the run of another
            recipe or of another number of processes, or another process runs there.
    """
    with folder.opened(recipe, resume=resume) if is_main_process() else nullcontext():
        metrics = folder.read_metrics()
        if metrics.get("finished"):
            return metrics
        display = ProgressDisplay(enabled=progress and is_main_process())
        with display, quiet_transformers(warnings_too=False):
            metrics = work(display) | {"finished": True}
        if not is_main_process():
            return metrics
        # What is said to be finished is not made again: it has to outlive a power failure.
        with writing(f"the model in {folder.path}"):
            sync_files(folder.path)
        folder.write_metrics(metrics)
        return folder.read_metrics()


def is_main_process() -> bool:
    """True for the process that writes, of those that `accelerate launch` or `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def use_threads(count: int | None) -> None:
    """Compute with so many CPU threads; None leaves torch's choice."""
    if count is not None:
        torch.set_num_threads(count)


def use_processor(threads: int | None) -> None:
    """Set the process up to train: so many CPU threads, None leaves torch's choice; memory that stays.

    Where there is an accelerator, memory is left to the C library.
    """
    use_threads(threads)
    if not torch.accelerator.is_available():
        keep_freed_memory()


def train_to_the_end(
    trainer: Trainer,
    folder: RunFolder,
    optimisation: LoopSection,
    examples: str,
    fingerprints: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train, from the newest checkpoint where there is one.

    Args:
        trainer: the loop.
        folder: has the checkpoints.
        optimisation: says how many examples make a step.
        examples: what is counted, as in "questions".
        fingerprints: of the parts of the data by name, of which a checkpoint goes on with the same only.

    Returns:
        How the weights came about; the speed is that of this start, validation included.

    Raises:
        ConfigurationError: the checkpoint is of other data.
    """
    checkpoint = folder.newest_checkpoint()
    if checkpoint is not None:
        folder.refuse_other_data(fingerprints or {})
    if is_main_process():
        if checkpoint is None and folder.all_checkpoints():
            logger.warning("%s: no checkpoint was written to its end; the run starts anew", folder.path)
        folder.note_processes()
        folder.note_data(fingerprints or {})
    start_step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
    start = time.perf_counter()
    if checkpoint is not None and is_main_process():
        correct_paths(checkpoint)
    if checkpoint is None or not restore_ended(trainer, checkpoint):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.perf_counter() - start
    steps = trainer.state.global_step
    per_step = optimisation.batch_size * optimisation.accumulation_steps * trainer.args.world_size
    seen = (steps - start_step) * per_step
    return {
        "steps": steps,
        "resumed_at_step": start_step or None,
        "seconds": round(seconds, 1),
        f"{examples}_per_second": round(seen / seconds, 1),
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
        folder: where to write.
        weights_dtype: "float32", "float16" or "bfloat16".

    Raises:
        TrainingError: they cannot be written.
    """
    if not is_main_process():
        return
    dtype = _WEIGHTS_DTYPES[weights_dtype]
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    with writing(f"the model in {folder}"):
        model.save_pretrained(folder, state_dict=state)


class SaveFigures(TrainerCallback):
    """Writes metrics.json after each evaluation, so that an interrupted run shows how far it came.

    The training loss is logged before each evaluation and checkpoint, so that the figures have all of it. A
    checkpoint of an epoch's last step waits for the evaluation after the epoch: a run that went on from one
    before it would leave it out, and the random numbers that it draws.

    Args:
        folder: where.
        figures: from the Trainer's state to what metrics.json holds.
    """

    def __init__(self, folder: RunFolder, figures: Callable[[Any], dict[str, Any]]) -> None:
        self._folder = folder
        self._figures = figures
        self._saves_after_epoch = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the loss where an evaluation or a checkpoint follows."""
        ends_epoch = state.epoch.is_integer() or state.global_step >= state.max_steps
        if control.should_save and ends_epoch and args.eval_strategy == IntervalStrategy.EPOCH:
            control.should_save, self._saves_after_epoch = False, True
        self._log_first(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The same, and the checkpoint that waited."""
        control.should_save = control.should_save or self._saves_after_epoch
        self._saves_after_epoch = False
        self._log_first(control)

    @staticmethod
    def _log_first(control: Any) -> None:
        control.should_log = control.should_log or control.should_evaluate or control.should_save

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what is known so far."""
        if state.is_world_process_zero:
            self._folder.write_metrics(self._figures(state))

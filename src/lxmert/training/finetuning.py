"""The fine-tuning loop, one for all tasks, over `transformers.Trainer`.

Source: paper section 3.3 and the fine-tuning code of airsplay/lxmert: a few epochs, linear warm-up and
decay, the epoch with the best validation accuracy is kept.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import set_seed

from lxmert._version import __version__
from lxmert.training.object_prediction import LxmertWithObjectPrediction
from lxmert.training.progress import ProgressDisplay, quiet_transformers
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.run_folder import RunFolder
from lxmert.training.tasks import PreparedTask, Task
from lxmert.training.trainer import FinetuneTrainer, figures_of, training_arguments
from lxmert.training.vqa_task import VqaTask

_TASKS = {VqaTask.name: VqaTask}

_WEIGHTS_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run.

    Attributes:
        folder: The model folder.
        metrics: What metrics.json holds: "data", "epochs" (with accuracies per family), "training", "test".
    """

    folder: Path
    metrics: dict[str, Any]

    @property
    def validation_accuracy(self) -> float:
        """The kept epoch's accuracy on the validation split, in percent."""
        return float(self.metrics["validation_accuracy"])

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy of the saved folder on the test split in percent, None where the recipe names none."""
        test = self.metrics.get("test")
        return None if test is None else float(test["overall"])


def finetune(
    recipe: FinetuneRecipe, output_dir: str | Path, *, resume: bool = False, progress: bool = False
) -> FinetuneResult:
    """Run a recipe.

    Args:
        recipe: What to do.
        output_dir: Folder of the result: a complete model folder with metrics.json and recipe.resolved.yaml.
        resume: True goes on with the run in the folder from its newest checkpoint. On a CPU, with the same
            software and number of threads and without `compile`, the final weights are those of an
            uninterrupted run, bit for bit. A finished run is returned as it is.
        progress: True shows progress bars on standard error.

    Raises:
        ConfigurationError: The folder is not empty and `resume` is False, or holds another recipe's run.
        LxmertError: The data or the model is wrong.
    """
    folder = RunFolder(Path(output_dir))
    folder.open(recipe, resume=resume)
    metrics = folder.read_metrics()
    if not metrics.get("finished"):
        if recipe.optimisation.threads is not None:
            torch.set_num_threads(recipe.optimisation.threads)
        with ProgressDisplay(enabled=progress) as display, quiet_transformers():
            metrics = _run(recipe, folder, display)
    return FinetuneResult(folder.path, metrics)


def _run(recipe: FinetuneRecipe, folder: RunFolder, display: ProgressDisplay) -> dict[str, Any]:
    # Made first: what the machine cannot do is said before images are looked at.
    arguments = training_arguments(recipe, folder.checkpoints)
    task: Task = _TASKS[recipe.task](display.start)
    # The task draws the model's first weights: the seed comes before.
    set_seed(recipe.optimisation.seed)
    prepared = task.prepare(recipe)
    trainer = FinetuneTrainer(recipe, arguments, prepared, folder, display)
    checkpoint = folder.newest_checkpoint()
    start_step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.perf_counter() - start
    save_model_folder(trainer.model, prepared, folder.path, recipe.saving.weights_dtype)
    figures = figures_of(trainer.state, prepared.facts)
    figures["training"] = _training_facts(recipe, trainer.state.global_step, start_step, seconds)
    if recipe.data.test_split is not None:
        # Scored as anyone will score it: loaded from the folder, rounded as it was saved.
        figures["test"] = task.test(recipe, str(folder.path), recipe.data.test_split).to_dict()
    folder.write_metrics(figures | {"finished": True})
    return folder.read_metrics()


def save_model_folder(model: Any, prepared: PreparedTask, folder: Path, weights_dtype: str) -> None:
    """Write a complete model folder.

    Weights may be stored in half precision, but config.json keeps saying float32, so that they are loaded as
    float32: half precision is a matter of size on disk here, not of arithmetic.

    Args:
        model: The trained model, float32.
        prepared: Gives the processor.
        folder: Where to write.
        weights_dtype: "float32", "float16" or "bfloat16".
    """
    if isinstance(model, LxmertWithObjectPrediction):
        model = model.without_head()
    dtype = _WEIGHTS_DTYPES[weights_dtype]
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    model.save_pretrained(folder, state_dict=state)
    prepared.processor.save_pretrained(folder)


def _training_facts(recipe: FinetuneRecipe, steps: int, start_step: int, seconds: float) -> dict[str, Any]:
    """How the weights came about; the speed is that of the last start, validation included."""
    questions = (steps - start_step) * recipe.optimisation.batch_size * recipe.optimisation.accumulation_steps
    return {
        "steps": steps,
        "resumed_at_step": start_step or None,
        "seconds": round(seconds, 1),
        "questions_per_second": round(questions / seconds, 1),
        "threads": torch.get_num_threads(),
        "lxmert": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }

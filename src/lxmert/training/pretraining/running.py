"""Pre-training from recipe to model folder.

Source: paper section 3.3 and 4.1, and the pre-training code of airsplay/lxmert.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from lxmert.training.arguments import training_arguments
from lxmert.training.pretraining.metrics import SELECTION_METRIC, collect_metrics
from lxmert.training.pretraining.preparation import prepare_pretraining
from lxmert.training.pretraining.recipe import PretrainRecipe, TasksSection
from lxmert.training.pretraining.trainer import PretrainingTrainer
from lxmert.training.progress import ProgressDisplay
from lxmert.training.run_folder import RunFolder
from lxmert.training.running import (
    is_main_process,
    run_in_folder,
    save_weights,
    set_up_process,
    train_or_resume,
)


@dataclass(frozen=True)
class PretrainResult:
    """A finished run.

    Attributes:
        folder: the model folder.
        metrics: contents of metrics.json: "data", "constant_predictor", "validation", "epochs", "training".
    """

    folder: Path
    metrics: dict[str, Any]

    @property
    def validation_loss(self) -> float:
        """The kept weights' loss on the validation sentences, the weighted sum over the tasks."""
        return float(self.metrics["validation"]["loss"])


def pretrain(
    recipe: PretrainRecipe, output_dir: str | Path, *, resume: bool = False, progress: bool = False
) -> PretrainResult:
    """Run a recipe.

    Args:
        recipe: the recipe.
        output_dir: folder of the result: a complete model folder of LxmertForPreTraining with metrics.json
            and recipe.resolved.yaml.
        resume: True continues the run in the folder from its newest checkpoint. On a CPU, with the same
            software and number of threads and without `compile`, the final weights are those of an
            uninterrupted run, bit for bit. A finished run's result is returned.
        progress: True shows progress bars on standard error.

    Raises:
        ConfigurationError: the folder is not empty and `resume` is False, or holds the run of another recipe
            or of another number of processes.
        LxmertError: the data or the model is wrong.
    """
    folder = RunFolder(Path(output_dir))
    metrics = run_in_folder(
        recipe, folder, lambda display: _run(recipe, folder, display), resume=resume, progress=progress
    )
    return PretrainResult(folder.path, metrics)


def _run(recipe: PretrainRecipe, folder: RunFolder, display: ProgressDisplay) -> dict[str, Any]:
    optimisation = recipe.optimisation
    set_up_process(optimisation.threads)
    # Made first, to refuse what the machine cannot do before data are read.
    arguments = training_arguments(
        optimisation,
        recipe.saving,
        folder.checkpoints,
        score=SELECTION_METRIC,
        higher_is_better=False,
        evaluate_every_steps=recipe.evaluation.every_steps,
        loader_processes=optimisation.loader_processes,
        compile_model=optimisation.compile,
        find_unused_parameters=_has_weights_without_gradient(recipe.tasks),
    )
    # Preparation draws the model's initial weights, so the seed is set before.
    set_seed(optimisation.seed)
    prepared = prepare_pretraining(recipe, display.start)
    trainer = PretrainingTrainer(recipe, arguments, prepared, folder, display)
    training_metadata = train_or_resume(trainer, folder, optimisation, "sentences", prepared.fingerprints)
    if is_main_process():
        save_weights(prepared.model.to_plain_model(), folder.path, recipe.saving.weights_dtype)
        prepared.processor.save_pretrained(folder.path)
    return collect_metrics(trainer.state, prepared.metadata, prepared.baselines) | {
        "training": training_metadata
    }


def _has_weights_without_gradient(tasks: TasksSection) -> bool:
    """Whether some updates give a head no gradient; places of weight 0 have no head."""
    return tasks.qa_from > 0 or any(weight == 0 for task, weight in tasks.weights.items() if task != "places")

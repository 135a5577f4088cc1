"""The fine-tuning loop, one for all tasks, over `transformers.Trainer`.

Source: paper section 3.3 and the fine-tuning code of airsplay/lxmert: a few epochs, linear warm-up and
decay; the epoch with the best validation accuracy is kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from lxmert.data.image_files import check_files_exist, open_region_store
from lxmert.data.joined_stores import open_stores
from lxmert.data.nlvr2_split import TRUTH_VALUES
from lxmert.data.progress import StartProgress
from lxmert.texts import unknown_word_token_ids
from lxmert.training.arguments import training_arguments
from lxmert.training.log_history import ACCURACY
from lxmert.training.object_prediction import ObjectPrediction
from lxmert.training.preparation import evaluate_folder, prepare_task
from lxmert.training.progress import ProgressDisplay
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.recipe_data import ANNOTATIONS, AnswersSection
from lxmert.training.run_folder import RunFolder
from lxmert.training.running import (
    is_main_process,
    run_in_folder,
    save_weights,
    set_up_process,
    train_or_resume,
)
from lxmert.training.task_registry import get_task
from lxmert.training.tasks import PreparedTask, Task
from lxmert.training.trainer import FinetuneTrainer, collect_metrics
from lxmert.vision.build import needs_boxes

# With BERT's vocabulary hardly any English word piece is unknown, but more than half in Russian or Japanese.
_MUCH_UNKNOWN = 1 / 3


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run.

    Attributes:
        folder: The model folder.
        metrics: Contents of metrics.json: "data", "epochs" (with accuracies per family), "training", "test".
    """

    folder: Path
    metrics: dict[str, Any]

    @property
    def validation_accuracy(self) -> float:
        """The kept epoch's accuracy on the validation split, in percent."""
        return float(self.metrics["validation_accuracy"])

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy of the saved folder on the test split in percent, None if the recipe names none."""
        test = self.metrics.get("test")
        return None if test is None else float(test["score"])


def finetune(
    recipe: FinetuneRecipe, output_dir: str | Path, *, resume: bool = False, progress: bool = False
) -> FinetuneResult:
    """Run a recipe.

    Args:
        recipe: The recipe.
        output_dir: Folder of the result: a complete model folder with metrics.json and recipe.resolved.yaml.
        resume: True continues the run in the folder from its newest checkpoint. On a CPU, with the same
            software and number of threads and without `compile`, the final weights are those of an
            uninterrupted run, bit for bit. A finished run's result is returned.
        progress: True shows progress bars on standard error.

    Raises:
        ConfigurationError: The folder is not empty and `resume` is False, or holds the run of another recipe
            or of another number of processes.
        LxmertError: The data or the model is wrong.
    """
    folder = RunFolder(Path(output_dir))
    metrics = run_in_folder(
        recipe, folder, lambda display: _run(recipe, folder, display), resume=resume, progress=progress
    )
    return FinetuneResult(folder.path, metrics)


def _run(recipe: FinetuneRecipe, folder: RunFolder, display: ProgressDisplay) -> dict[str, Any]:
    optimisation = recipe.optimisation
    set_up_process(optimisation.threads)
    # Made first, to refuse what the machine cannot do before images are read.
    arguments = training_arguments(
        optimisation,
        recipe.saving,
        folder.checkpoints,
        score=ACCURACY,
        evaluation_batch_size=recipe.evaluation.batch_size,
        loader_processes=optimisation.loader_processes,
        compile_model=optimisation.compile,
    )
    task = get_task(recipe.task)
    _check_test(task, recipe, display.start)
    # Preparation draws the model's initial weights, so the seed is set before.
    set_seed(optimisation.seed)
    prepared = prepare_task(task, recipe, display.start)
    _report_unanswerable(recipe, prepared, display)
    _report_unknown_words(prepared, display)
    # What is missing for scoring is reported now rather than after an epoch.
    prepared.score([0] * len(prepared.validation))
    trainer = FinetuneTrainer(recipe, arguments, prepared, folder, display)
    training_metadata = train_or_resume(trainer, folder, optimisation, "questions", prepared.fingerprints)
    metrics = collect_metrics(trainer.state, prepared.metadata) | {"training": training_metadata}
    if not is_main_process():
        return metrics
    save_model_folder(trainer.model, prepared, folder.path, recipe.saving.weights_dtype)
    if recipe.data.test_split is not None:
        # Scored as users will: loaded from the folder, with the precision it was saved in.
        split = recipe.data.test_split
        metrics["test"] = evaluate_folder(task, recipe, str(folder.path), split, display.start).to_dict()
    return metrics


def _report_unanswerable(recipe: FinetuneRecipe, prepared: PreparedTask, display: ProgressDisplay) -> None:
    """Report how many questions have no answer in the vocabulary."""
    section: AnswersSection | None = getattr(recipe.data, "answers", None)
    choices = f"the {prepared.metadata['answers']:,} answers of the vocabulary"
    if section is not None and section.source == ANNOTATIONS and section.min_count > 1:
        choices += f", those of at least {section.min_count} training questions (data.answers.min_count)"
    for kind, data in (("training", prepared.train), ("validation", prepared.validation)):
        if data.answerable_count < len(data):
            counts = f"{len(data) - data.answerable_count:,} of {len(data):,} {kind} questions"
            display.print(f"note: {counts} have no answer among {choices}")


def _report_unknown_words(prepared: PreparedTask, display: ProgressDisplay) -> None:
    """Report a vocabulary that does not fit the sentences, such as an English one for another script."""
    unknown = unknown_word_token_ids(prepared.processor.tokenizer)
    for kind, data in (("training", prepared.train), ("validation", prepared.validation)):
        if (fraction := data.tokens.fraction_of(unknown)) > _MUCH_UNKNOWN:
            display.print(
                f"note: {100 * fraction:.0f} % of the word pieces in the {kind} sentences are [UNK] or "
                "single letters of words missing from the vocabulary: it was made for other texts, and "
                "little can be learned from these"
            )


def _check_test(task: Task, recipe: FinetuneRecipe, progress: StartProgress) -> None:
    """Refuse a test split that cannot be scored, before anything is trained.

    Raises:
        DataError: A file that scoring needs is missing or malformed, or images or their features are missing.
    """
    data = recipe.data
    is_validation = data.test_split == data.validation_split and data.validation_images is None
    # Scoring of the validation split is tried anyway, so its files are not read twice.
    if data.test_split is None or is_validation or not is_main_process():
        return
    examples = task.split(data.directory, data.test_split, data.files).read(progress)
    # Any answer will do; a truth value is valid in every task.
    predictions = {example.identifier: TRUTH_VALUES[0] for example in examples.examples}
    task.score(examples, predictions, **recipe.evaluation.model_dump(exclude={"batch_size"}))
    if data.stores:
        open_region_store(open_stores(data.stores), examples.image_names(), None, in_memory_bytes=0)
    elif data.extractor is not None:
        files = examples.image_files(with_boxes=needs_boxes(data.extractor))
        check_files_exist([file.path for file in files.values()], f"images of the split {data.test_split}")


def save_model_folder(model: Any, prepared: PreparedTask, folder: Path, weights_dtype: str) -> None:
    """Write a complete model folder.

    Args:
        model: The trained model, float32.
        prepared: Has the processor.
        folder: Where to write.
        weights_dtype: "float32", "float16" or "bfloat16", see `save_weights`.
    """
    if isinstance(model, ObjectPrediction):
        model = model.to_plain_model()
    save_weights(model, folder, weights_dtype)
    prepared.processor.save_pretrained(folder)

"""Training of a detector, from recipe to model folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from lxmert.data.box_annotations import BoxVocabulary
from lxmert.errors import ConfigurationError
from lxmert.training.arguments import training_arguments
from lxmert.training.detection.evaluation import report_metrics, score_detector
from lxmert.training.detection.preparation import load_split, prepare_detection
from lxmert.training.detection.recipe import DetectorRecipe
from lxmert.training.detection.trainer import SELECTION_METRIC, DetectionTrainer, collect_metrics
from lxmert.training.progress import ProgressDisplay
from lxmert.training.run_folder import RunFolder, process_count
from lxmert.training.running import run_in_folder, save_weights, set_threads, train_or_resume
from lxmert.vision.faster_rcnn.modeling import FasterRcnn


@dataclass(frozen=True)
class DetectorResult:
    """A finished run.

    Attributes:
        folder: the model folder.
        metrics: contents of metrics.json: "data", "epochs" (with the average precision of each class),
            "validation_map_50", "training", "test".
    """

    folder: Path
    metrics: dict[str, Any]

    @property
    def validation_map_50(self) -> float:
        """The kept epoch's mean average precision on the validation split, in percent."""
        return float(self.metrics["validation_map_50"])

    @property
    def test(self) -> dict[str, Any] | None:
        """The saved folder's figures on the test split in percent, None if the recipe names none."""
        return self.metrics.get("test")


def train_detector(
    recipe: DetectorRecipe, output_dir: str | Path, *, resume: bool = False, progress: bool = False
) -> DetectorResult:
    """Run a recipe.

    Args:
        recipe: the recipe.
        output_dir: folder of the result: a complete model folder with metrics.json and recipe.resolved.yaml.
        resume: True continues the run in the folder from its newest checkpoint. On a CPU, with the same
            software and number of threads, the final weights are those of an uninterrupted run, bit for bit.
            A finished run's result is returned.
        progress: True shows progress bars on standard error.

    Raises:
        ConfigurationError: the folder is not empty and `resume` is False, or holds another recipe's run; or
            several processes were started.
        LxmertError: the data or the model is wrong.
    """
    if process_count() > 1:
        raise ConfigurationError(
            "a detector is trained by one process; start it without torchrun or accelerate launch"
        )
    folder = RunFolder(Path(output_dir))
    metrics = run_in_folder(
        recipe, folder, lambda display: _run(recipe, folder, display), resume=resume, progress=progress
    )
    return DetectorResult(folder.path, metrics)


def _run(recipe: DetectorRecipe, folder: RunFolder, display: ProgressDisplay) -> dict[str, Any]:
    optimisation = recipe.optimisation
    set_threads(optimisation.threads)
    # Made first, to refuse what the machine cannot do before data are read.
    arguments = training_arguments(
        optimisation,
        recipe.saving,
        folder.checkpoints,
        score=SELECTION_METRIC,
        loader_processes=optimisation.loader_processes,
    )
    # Preparation draws the model's initial weights, so the seed is set before.
    set_seed(optimisation.seed)
    prepared = prepare_detection(recipe, display.start)
    trainer = DetectionTrainer(recipe, arguments, prepared, folder, display)
    training_metadata = train_or_resume(trainer, folder, optimisation, "images", prepared.fingerprints)
    save_detector(trainer.model, folder.path, recipe.saving.weights_dtype)
    values = collect_metrics(trainer.state, prepared.metadata) | {"training": training_metadata}
    if recipe.data.test_split is not None:
        # Scored as users will: loaded from the folder, with the precision it was saved in.
        model = FasterRcnn.from_pretrained(folder.path).to(trainer.args.device)
        values["test"] = _test(model, recipe, prepared.vocabulary, display)
    return values


def save_detector(model: FasterRcnn, folder: Path, weights_dtype: str) -> None:
    """Write a model folder that `FasterRcnn.from_pretrained` reads.

    Args:
        model: the trained model, float32; in training or not.
        folder: the folder to write to.
        weights_dtype: "float32", "float16" or "bfloat16", see `save_weights`.
    """
    plain = FasterRcnn(model.config)
    plain.load_state_dict(model.state_dict())
    save_weights(plain, folder, weights_dtype)


def _test(
    model: FasterRcnn, recipe: DetectorRecipe, vocabulary: BoxVocabulary, display: ProgressDisplay
) -> dict[str, Any]:
    split = str(recipe.data.test_split)
    images = load_split(recipe.data, split, vocabulary, progress=display.start)
    advance = display.start(f"Testing on {split}", len(images))
    report = score_detector(model, images, recipe.evaluation.max_detections, advance)
    return {"split": split, "images": len(images)} | report_metrics(report, vocabulary.objects.names)

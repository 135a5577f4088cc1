"""Running a model over a split, and scoring its predictions with the official metric."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.file_layouts import TaskFiles
from lxmert.data.image_files import extract_region_table, open_region_store
from lxmert.data.joined_stores import RegionStore, open_stores
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.region_source import RegionSource
from lxmert.data.task_examples import IGNORED_LABEL, Subset
from lxmert.data.task_split import SplitExamples
from lxmert.errors import ConfigurationError, DataError
from lxmert.inference.bulk_examples import ExampleAnswerer
from lxmert.inference.model_setup import ModelSetup
from lxmert.model.heads import LxmertPairHead
from lxmert.processing import LxmertProcessor
from lxmert.training.task_registry import get_task
from lxmert.training.tasks import EvaluationReport, Task, get_answer_vocabulary


def evaluate_model(
    model: PreTrainedModel,
    processor: LxmertProcessor,
    data_dir: str | Path,
    split: str = "test",
    limit: int | None = None,
    *,
    task: str = "vqa",
    files: TaskFiles | None = None,
    features: Sequence[Path] = (),
    batch_size: int | None = None,
    setup: ModelSetup | None = None,
    progress: StartProgress = no_progress,
    notify: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> EvaluationReport:
    """Recompute a model's official figures over a data directory.

    Args:
        model: A model of the task; set up for answering in place (see `FastModel`), used on its device.
        processor: Its processor, with answers, and an extractor where there is no feature store.
        data_dir: Directory in the layout of `lxmert scenes make`, or another one described by `files`.
        split: The split's name, or several joined by commas.
        limit: Maximum number of examples, from the first; None for all.
        task: "vqa", "gqa" or "nlvr2".
        files: The directory's layout.
        features: Feature stores with the images' regions; none to extract them.
        batch_size: Maximum number of examples at once; None for a default that suits the device.
        setup: How the model is set up; None leaves it as it is, "auto" chooses a dtype by the answers (see
            `ExampleAnswerer`).
        progress: Shows the progress.
        notify: Called with a line if "auto" finds lower precision inadequate, with the agreement of "int8",
            and if the model cannot be compiled for it.
        settings: Settings of the metric, such as `evaluator="before-2021-03"` for VQA.

    Raises:
        ConfigurationError: The processor has no answers, or there is neither extractor nor feature store.
        DataError: A file is missing or malformed, or the split has nothing to score.
        ImageError: An image cannot be read.
    """
    selected_task = get_task(task)
    examples = selected_task.split(Path(data_dir), split, files, Subset(first_examples=limit)).read(progress)
    labels = run_model(model, processor, examples, features, batch_size, setup, progress, notify)
    answers = get_answer_vocabulary(processor)
    answerable = sum(bool(target.scores) for target in examples.targets(answers))
    return score_labels(selected_task, labels, examples, answers, answerable, settings=settings)


def run_model(
    model: PreTrainedModel,
    processor: LxmertProcessor,
    examples: SplitExamples,
    features: Sequence[Path] = (),
    batch_size: int | None = None,
    setup: ModelSetup | None = None,
    progress: StartProgress = no_progress,
    notify: Callable[[str], None] = lambda line: None,
) -> list[int]:
    """Predict the answer to each example; for the arguments see `evaluate_model`.

    Returns:
        Class ids in the order of the examples.

    Raises:
        ConfigurationError: The processor has no answers, or not the model's, or there is neither
            extractor nor feature store.
        DataError: There is no example, or an image's regions are missing.
    """
    store = open_stores(features) if features else None
    answerer = build_answerer(model, processor, examples, store, batch_size, setup, progress, notify)
    answerer.prepare_answerer()
    advance = progress(f"Answering {examples.split.name} questions in {answerer.dtype}", len(examples))
    labels = [IGNORED_LABEL] * len(examples)
    for indices, batch_labels in answerer.answer(answerer.order):
        for index, label in zip(indices, batch_labels, strict=True):
            labels[index] = label
        advance(len(indices))
    return labels


def build_answerer(
    model: PreTrainedModel,
    processor: LxmertProcessor,
    examples: SplitExamples,
    features: RegionStore | None = None,
    batch_size: int | None = None,
    setup: ModelSetup | None = None,
    progress: StartProgress = no_progress,
    notify: Callable[[str], None] = lambda line: None,
    processes: int = 1,
) -> ExampleAnswerer:
    """Create the answerer of the examples, after checking that it can answer them.

    Raises:
        ConfigurationError: see `run_model`.
        DataError: see `run_model`.
    """
    answers = get_answer_vocabulary(processor)
    classes = model.config.num_qa_labels if hasattr(model, "answer_head") else LxmertPairHead.classes
    if len(answers) != classes:
        raise ConfigurationError(
            f"the model scores {classes} answers, but answers.json has {len(answers)} answers; use the "
            "answers.json of the model"
        )
    if not len(examples):
        raise DataError(
            f"split {examples.split.name} of {examples.split.reader.directory} has no question to score"
        )
    return ExampleAnswerer(
        model,
        processor,
        examples,
        features,
        setup=setup,
        batch_size=batch_size,
        processes=processes,
        progress=progress,
        notify=notify,
    )


def load_regions(
    examples: SplitExamples,
    processor: LxmertProcessor,
    store: RegionStore | None,
    progress: StartProgress = no_progress,
) -> RegionSource:
    """The regions of the examples' images, looked up in a feature store or extracted now.

    Raises:
        ConfigurationError: There is neither extractor nor feature store.
        DataError: The store is of another extractor or lacks images, or boxes are missing.
        ImageError: An image cannot be read.
    """
    if store is not None:
        expected = processor.extractor_unless(store.extractor)
        return open_region_store(store, examples.image_names(), expected, progress)
    extractor = processor.extractor
    files = examples.image_files(with_boxes=extractor is not None and extractor.needs_boxes)
    return extract_region_table(
        files, extractor, progress(f"Extracting regions of {examples.split.name} images", len(files))
    )


def score_labels(
    task: Task,
    labels: Sequence[int],
    examples: SplitExamples,
    answers: AnswerVocabulary,
    answerable: int,
    *,
    settings: Mapping[str, Any] | None = None,
) -> EvaluationReport:
    """Turn predicted class ids, one per example, into the official figures."""
    predictions = predictions_by_id(labels, examples, answers)
    scored = task.score(examples, predictions, **(settings or {}))
    return EvaluationReport(
        split=examples.split.name,
        scored=scored,
        answerable=answerable,
        predictions=predictions,
    )


def predictions_by_id(
    labels: Sequence[int], examples: SplitExamples, answers: AnswerVocabulary
) -> dict[Any, str]:
    """Predicted answers by example id."""
    return {
        example.identifier: answers[label] for example, label in zip(examples.examples, labels, strict=True)
    }

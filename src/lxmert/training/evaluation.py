"""Running a model over a split, and scoring what it says with the official metric.

Shapes: B examples of a batch, C classes.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.collation import TargetKind, TaskCollator, TaskDataset
from lxmert.data.files import TaskFiles
from lxmert.data.image_files import look_at, look_up
from lxmert.data.joined_stores import RegionStore, open_stores
from lxmert.data.progress import Advance, StartProgress, no_progress
from lxmert.data.region_source import RegionSource
from lxmert.data.task_examples import Part
from lxmert.data.task_split import SplitExamples
from lxmert.errors import ConfigurationError, DataError
from lxmert.model.heads import LxmertPairHead
from lxmert.processing import LxmertProcessor
from lxmert.training.task_list import task_named
from lxmert.training.tasks import Report, Task, answers_of

DEFAULT_BATCH_SIZE = 512


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
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: StartProgress = no_progress,
    **settings: Any,
) -> Report:
    """Recompute a model's official figures over a data directory.

    Args:
        model: A model of the task; put into evaluation mode, used on its device.
        processor: Its processor, with answers, and an extractor where there is no feature store.
        data_dir: Directory in the layout of `lxmert scenes make`, or another one described by `files`.
        split: The split's name, or several joined by commas.
        limit: Only the first so many examples; None for all.
        task: "vqa", "gqa" or "nlvr2".
        files: The directory's layout.
        features: Feature stores that hold the images' regions already; none to extract them.
        batch_size: Examples per batch.
        progress: Shows how far it is.
        settings: What the metric knows, such as `evaluator="before-2021-03"` for VQA.

    Raises:
        ConfigurationError: The processor has no answers, or there is neither extractor nor feature store.
        DataError: A file is missing or malformed, or the split has nothing to score.
        ImageError: An image cannot be read.
    """
    kind = task_named(task)
    wanted = kind.split(Path(data_dir), split, files, Part(first_examples=limit)).read(progress)
    labels, dataset, seconds = run_model(model, processor, wanted, features, batch_size, progress)
    return score_labels(
        kind, labels, wanted, answers_of(processor), dataset.answerable, seconds=seconds, settings=settings
    )


def run_model(
    model: PreTrainedModel,
    processor: LxmertProcessor,
    examples: SplitExamples,
    features: Sequence[Path] = (),
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: StartProgress = no_progress,
) -> tuple[list[int], TaskDataset, float]:
    """What the model says of each example.

    Returns:
        Class ids in the order of the examples, the data set that was made of them, and the seconds that the
        model took.

    Raises:
        ConfigurationError: The processor has no answers, or others than the model, or there is neither
            extractor nor feature store.
        DataError: There is no example, or an image's regions are missing.
    """
    answers = answers_of(processor)
    classes = model.config.num_qa_labels if hasattr(model, "answer_head") else LxmertPairHead.classes
    if len(answers) != classes:
        raise ConfigurationError(
            f"the model scores {classes} answers, answers.json has {len(answers)} answers; give it its own"
        )
    if not len(examples):
        raise DataError(
            f"split {examples.split.name} of {examples.split.reader.directory} has no question to score"
        )
    store = open_stores(features) if features else None
    regions = regions_for(examples, processor, store, progress)
    dataset = TaskDataset(
        examples.examples,
        examples.targets(answers),
        processor.tokenizer,
        processor.max_text_length,
        regions,
    )
    collate = TaskCollator(regions, processor.tokenizer.pad_token_id, len(answers), TargetKind.CLASS)
    start = time.perf_counter()
    advance = progress(f"Answering {examples.split.name} questions", len(dataset))
    labels = predict_labels(model, dataset, collate, batch_size=batch_size, advance=advance)
    return labels, dataset, time.perf_counter() - start


def regions_for(
    examples: SplitExamples,
    processor: LxmertProcessor,
    store: RegionStore | None,
    progress: StartProgress = no_progress,
) -> RegionSource:
    """The regions of the examples' images: looked up in a feature store, or looked at now.

    Raises:
        ConfigurationError: There is neither extractor nor feature store.
        DataError: The store is of another extractor or lacks images, or boxes are missing.
        ImageError: An image cannot be read.
    """
    extractor = processor.extractor
    if store is not None:
        return look_up(store, examples.image_names(), extractor, progress)
    files = examples.image_files(with_boxes=extractor is not None and extractor.needs_boxes)
    return look_at(files, extractor, progress(f"Looking at {examples.split.name} images", len(files)))


@torch.inference_mode()
def predict_labels(
    model: PreTrainedModel,
    dataset: TaskDataset,
    collate: TaskCollator,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    advance: Advance = lambda examples: None,
) -> list[int]:
    """The class id the model scores highest, for each example in the data set's order."""
    model.eval()
    predicted = torch.empty(len(dataset), dtype=torch.int64)
    # Like lengths together: less padding.
    order = torch.argsort(torch.tensor(dataset.lengths), stable=True)
    for rows in order.split(batch_size):
        batch = collate([dataset[row] for row in rows.tolist()])
        del batch["labels"]
        # Every task's model has its class scores first.
        scores = model(
            **{name: tensor.to(model.device) for name, tensor in batch.items()}, return_dict=False
        )[0]
        predicted[rows] = scores.argmax(dim=-1).cpu()
        advance(len(rows))
    return predicted.tolist()


def score_labels(
    task: Task,
    labels: Sequence[int],
    examples: SplitExamples,
    answers: AnswerVocabulary,
    answerable: int,
    *,
    seconds: float = 0.0,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Turn predicted class ids, one per example, into the official figures."""
    predictions = predictions_of(labels, examples, answers)
    scored = task.score(examples, predictions, **(settings or {}))
    return Report(
        split=examples.split.name,
        scored=scored,
        answerable=answerable,
        predictions=predictions,
        seconds=seconds,
    )


def predictions_of(
    labels: Sequence[int], examples: SplitExamples, answers: AnswerVocabulary
) -> dict[Any, str]:
    """Example id to predicted answer."""
    return {
        example.identifier: answers[label] for example, label in zip(examples.examples, labels, strict=True)
    }

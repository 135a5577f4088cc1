"""Predictions for a leaderboard: a model's answers to a split, annotated or not, in the official format."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from lxmert.data.files import TaskFiles
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_examples import Part, Purpose
from lxmert.errors import DataError
from lxmert.processing import LxmertProcessor
from lxmert.training.evaluation import DEFAULT_BATCH_SIZE, predictions_of, run_model
from lxmert.training.task_list import task_named
from lxmert.training.tasks import answers_of


def predict_to_file(
    model: PreTrainedModel,
    processor: LxmertProcessor,
    data_dir: str | Path,
    split: str,
    output: str | Path,
    *,
    task: str,
    limit: int | None = None,
    files: TaskFiles | None = None,
    features: Sequence[Path] = (),
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: StartProgress = no_progress,
) -> int:
    """Answer every example of a split and write the leaderboard's submission file.

    The answers are those that `evaluate_model` scores. The file appears when it is complete, in place of an
    older one.

    Args:
        model: A model of the task; put into evaluation mode, used on its device.
        processor: Its processor, with answers, and an extractor where there is no feature store.
        data_dir: Directory in the layout of `lxmert scenes make`, or another one described by `files`.
        split: The split's name, or several joined by commas. It needs no annotations.
        output: The file to write.
        task: "vqa", "gqa" or "nlvr2".
        limit: Only the first so many examples; None for all.
        files: The directory's layout.
        features: Feature stores that hold the images' regions already; none to extract them.
        batch_size: Examples per batch.
        progress: Shows how far it is.

    Returns:
        How many examples were answered.

    Raises:
        ConfigurationError: The processor has no answers, or there is neither extractor nor feature store.
        DataError: A file is missing or malformed, or the output cannot be written.
        ImageError: An image cannot be read.
    """
    output = Path(output)
    # Hours of work should not end with a folder that is not there.
    if not output.absolute().parent.is_dir() or output.is_dir():
        raise DataError(f"{output} cannot be written: its folder is not there, or it is a folder itself")
    kind = task_named(task)
    examples = kind.split(Path(data_dir), split, files, Part(first_examples=limit), Purpose.PREDICTION).read()
    labels, _, _ = run_model(model, processor, examples, features, batch_size, progress)
    predictions = predictions_of(labels, examples, answers_of(processor))
    kind.write(output, predictions)
    return len(predictions)

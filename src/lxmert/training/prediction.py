"""Predictions for a leaderboard: a model's answers to a split, annotated or not, in the official format."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from lxmert._version import __version__
from lxmert.atomic_files import fsync_path
from lxmert.data.file_layouts import TaskFiles
from lxmert.data.image_files import ImageFile
from lxmert.data.joined_stores import RegionStore, open_stores
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_examples import Purpose, Subset
from lxmert.data.task_split import SplitExamples
from lxmert.errors import DataError
from lxmert.faults import overwrite_fault, unwritable_fault
from lxmert.inference.agreement import QUESTIONS_COMPARED, Agreement
from lxmert.inference.bulk_examples import ExampleAnswerer
from lxmert.inference.bulk_journal import AnswerJournal, journal_folder
from lxmert.inference.fast_model import AUTO, INT8, fast_dtype
from lxmert.inference.model_setup import ModelSetup
from lxmert.inference.ranks import Ranks
from lxmert.processing import LxmertProcessor
from lxmert.training.evaluation import build_answerer, predictions_by_id
from lxmert.training.task_registry import get_task
from lxmert.training.tasks import Task, get_answer_vocabulary
from lxmert.weights.dtypes import dtype_name
from lxmert.weights.fingerprint import hash_weights

_IGNORED_CONFIG_KEYS = ("_name_or_path", "transformers_version", "dtype")
"""Entries of a configuration that do not affect what the model computes."""

_AGREEMENT = "agreement with float32"
"""Name of a decision in the journal: the numbers of agreeing and of compared questions, and in which of
`QUESTIONS_COMPARED` these were compared."""


@dataclass(frozen=True)
class PredictionReport:
    """The result of a run.

    Attributes:
        answered: Number of examples that this process answered.
        already_answered: Number of this process's examples that earlier runs had answered.
        total: Number of examples of all processes.
        is_written: True where this process wrote the submission file.
    """

    answered: int
    already_answered: int
    total: int
    is_written: bool


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
    batch_size: int | None = None,
    setup: ModelSetup | None = None,
    ranks: Ranks | None = None,
    overwrite: bool = False,
    progress: StartProgress = no_progress,
    notify: Callable[[str], None] = lambda line: None,
) -> PredictionReport:
    """Answer every example of a split and write the leaderboard's submission file.

    The answers are those that `evaluate_model` scores. The file appears when it is complete. Until then a
    journal next to it keeps the answers: a run interrupted at any moment, in any way, is continued by running
    it again, and produces the file of an uninterrupted run.

    Args:
        model: A model of the task; set up for answering in place (see `FastModel`), used on its device.
        processor: Its processor, with answers, and an extractor where there is no feature store.
        data_dir: Directory in the layout of `lxmert scenes make`, or another one described by `files`.
        split: The split's name, or several joined by commas. It needs no annotations.
        output: The file to write.
        task: "vqa", "gqa" or "nlvr2".
        limit: Maximum number of examples, from the first; None for all.
        files: The directory's layout.
        features: Feature stores with the images' regions; none to extract them.
        batch_size: Maximum number of examples at once; None for a default that suits the device.
        setup: How the model is set up; None leaves its dtype, "auto" chooses one by the answers (see
            `ExampleAnswerer`). All processes use that of the first, and a continued run keeps its own.
        ranks: This process among several that share the examples; the first of them writes the file.
        overwrite: True replaces an existing file, and starts over if there is a journal of this or another
            run; refused for several processes that cannot communicate.
        progress: Shows the progress.
        notify: Called with a line if "auto" finds lower precision inadequate, with the agreement of "int8",
            and if the model cannot be compiled for it.

    Raises:
        ConfigurationError: The processor has no answers, or there is neither extractor nor feature store.
        DataError: A file is missing or malformed, the journal is of another run, or the output is there
            already or cannot be written.
        ImageError: An image cannot be read.
    """
    output, ranks = Path(output), ranks or Ranks()
    check_output(output, overwrite=overwrite)
    selected_task = get_task(task)
    task_split = selected_task.split(
        Path(data_dir), split, files, Subset(first_examples=limit), Purpose.PREDICTION
    )
    examples = task_split.read(progress)
    store = open_stores(features) if features else None
    weights = hash_weights(model)  # Before the model is set up, which may change them.
    answerer = build_answerer(
        model, processor, examples, store, batch_size, setup, progress, notify, processes=ranks.world_size
    )
    run_identity = {
        "weights": weights,
        "configuration": _hash_configuration(model),
        "answers": _hash_json(get_answer_vocabulary(processor)),
        "questions": _hash_questions(examples, answerer),
        "data": str(Path(data_dir).resolve()),
        "features": _describe_features(processor, store),
        "images": _hash_images(answerer.image_files.values()),
        "settings": _describe_settings(model, batch_size, setup or ModelSetup()),
        "lxmert": __version__,
    }
    shard = _contiguous_shard(answerer.order, ranks)
    fault = overwrite_fault(output, overwrite=overwrite)
    with AnswerJournal(
        journal_folder(output), run_identity, ranks, overwrite=overwrite, fault_if_new=fault
    ) as journal:
        already_answered = sum(index in journal.labels for index in shard)
        answerer.prepare_answerer(lambda: _shared_agreement(answerer, journal, ranks))
        advance = progress(f"Answering {split} questions in {answerer.dtype}", len(shard))
        advance(already_answered)
        for indices, labels in answerer.answer(shard, journal.contains):
            journal.append(indices, labels, answerer.image_paths(indices))
            advance(len(indices))
    ranks.sum_over_ranks([0])  # Waits until all of them are done.
    is_written = ranks.is_leader and _write_submission(
        output, selected_task, examples, processor, journal, ranks
    )
    return PredictionReport(len(shard) - already_answered, already_answered, len(examples), is_written)


def check_output(output: Path, *, overwrite: bool = False) -> None:
    """Refuse an output that cannot be written or exists already, before hours of work.

    Args:
        output: The file to write.
        overwrite: True allows replacing a file. So does the journal of a run in progress, which was checked
            when it began; that it is the same run is checked by `AnswerJournal`.

    Raises:
        DataError: It is refused.
    """
    has_journal = journal_folder(output).is_dir()
    if fault := unwritable_fault(output) or overwrite_fault(output, overwrite=overwrite or has_journal):
        raise DataError(fault)


def _write_submission(
    output: Path,
    task: Task,
    examples: SplitExamples,
    processor: LxmertProcessor,
    journal: AnswerJournal,
    ranks: Ranks,
) -> bool:
    """Write the submission file if all examples are answered; returns whether it was written.

    Raises:
        DataError: answers are missing although all processes have ended.
    """
    labels_by_index = journal.read()
    if len(labels_by_index) < len(examples):
        if ranks.world_size > 1 and not ranks.is_connected:
            return False
        remedy = "make all processes write to the same disk" if ranks.is_connected else "check the disk"
        raise DataError(
            f"{journal.folder} has {len(labels_by_index):,} of {len(examples):,} answers; {remedy}, and run "
            "the same command again"
        )
    in_order = [labels_by_index[index] for index in range(len(examples))]
    task.write_submission(
        output, examples, predictions_by_id(in_order, examples, get_answer_vocabulary(processor))
    )
    # In case of a power failure, the answers are forced to the disk before the journal is removed.
    fsync_path(output)
    journal.remove()
    return True


def _contiguous_shard(indices: Sequence[int], ranks: Ranks) -> Sequence[int]:
    """The examples of one of several processes: a contiguous range, because neighbours share images."""
    start, end = (len(indices) * rank // ranks.world_size for rank in (ranks.rank, ranks.rank + 1))
    return indices[start:end]


def _shared_agreement(answerer: ExampleAnswerer, journal: AnswerJournal, ranks: Ranks) -> Agreement:
    """How well a lower precision agrees with float32, determined once for all parts of a run.

    Determined again, it could differ with another number of threads or on another device.
    """
    recorded: list[int] | None = journal.decisions.get(_AGREEMENT)
    lower_dtypes = list(QUESTIONS_COMPARED)
    # The first process decides, whatever others have recorded; they add zeros to its numbers.
    numbers = recorded or [0, 0, 0]
    if not ranks.is_leader:
        numbers = [0, 0, 0]
    elif recorded is None:
        found = answerer.agreement()
        numbers = [found.agreed, found.compared, lower_dtypes.index(found.lower_dtype)]
    agreed, compared, lower_dtype = numbers = ranks.sum_over_ranks(numbers)
    if numbers != recorded:
        journal.record_decision(_AGREEMENT, numbers)
    return Agreement(agreed, compared, lower_dtypes[lower_dtype])


def _describe_settings(model: PreTrainedModel, batch_size: int | None, setup: ModelSetup) -> list[Any]:
    dtype = setup.dtype or dtype_name(model.dtype)
    compiled = setup.compiled if dtype == AUTO else setup.compiles
    if dtype == INT8:
        dtype = f"{INT8} and {dtype_name(fast_dtype(model.device))}"  # Whatever is not in 8 bits.
    return [model.device.type, dtype, compiled, batch_size]


def _hash_configuration(model: PreTrainedModel) -> str:
    values: dict[str, Any] = model.config.to_dict()
    return _hash_json({name: value for name, value in values.items() if name not in _IGNORED_CONFIG_KEYS})


def _hash_questions(examples: SplitExamples, answerer: ExampleAnswerer) -> str:
    """Hash the questions: ids, token ids and images, in order."""
    digest = hashlib.sha256()
    for index, example in enumerate(examples.examples):
        digest.update(json.dumps([example.identifier, *example.images]).encode())
        digest.update(answerer.tokens[index].tobytes())
    return digest.hexdigest()


def _describe_features(processor: LxmertProcessor, store: RegionStore | None) -> list[Any]:
    """The extractor, and the contents of the stores."""
    if store is None:
        return [None if processor.extractor is None else processor.extractor.identity]
    return [store.extractor, store.content_hash()]


def _hash_images(files: Iterable[ImageFile]) -> str:
    """Hash the images' paths and boxes.

    A damaged file may be replaced before it is used: the journal has the sizes of those that were.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps(os.path.abspath(file.path)).encode())
        if file.boxes_xyxy_px is not None:
            digest.update(file.boxes_xyxy_px.numpy().tobytes())
    return digest.hexdigest()


def _hash_json(values: Any) -> str:
    text = json.dumps(list(values) if not isinstance(values, dict) else values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

"""The definition of a fine-tuning task: its data, head and metric. All else is the same for all tasks.

A new data set needs a reader of its files (`lxmert.data`), a `Task` (its model class, metric and submission
file), and a name in the recipe.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from transformers import PreTrainedModel

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.file_layouts import TaskFiles
from lxmert.data.task_dataset import TaskDataset
from lxmert.data.task_examples import Purpose, Subset
from lxmert.data.task_split import SplitExamples, SplitReader, TaskSplit
from lxmert.errors import ConfigurationError
from lxmert.processing import LxmertProcessor


class Scores(Protocol):
    """The official scores of a metric."""

    def to_dict(self) -> dict[Any, Any]:
        """All scores under their official names, for JSON."""
        ...


@dataclass(frozen=True)
class TaskScore:
    """The result of scoring predictions.

    Attributes:
        accuracy: The score that models are selected by, in percent.
        per_family: Scores shown next to it during training; accuracies in percent unless the metric defines
            others. A collapsed model shows here first.
        scores: All official scores.
    """

    accuracy: float
    per_family: Mapping[str, float]
    scores: Scores


@dataclass(frozen=True)
class EvaluationReport:
    """The scores of a model on a split.

    Attributes:
        split: The split's name.
        scored: The official scores.
        answerable: How many of the examples have an answer in the model's vocabulary.
        predictions: Example id to predicted answer.
    """

    split: str
    scored: TaskScore
    answerable: int
    predictions: Mapping[Any, str] = field(repr=False)

    @property
    def accuracy(self) -> float:
        """The score that models are selected by, in percent."""
        return self.scored.accuracy

    @property
    def per_family(self) -> Mapping[str, float]:
        """Scores shown next to it."""
        return self.scored.per_family

    def to_dict(self) -> dict[str, Any]:
        """All scores, without the predictions, ready for JSON; "score" is `accuracy`."""
        scores = _with_string_keys(self.scored.scores.to_dict())
        return {"split": self.split, "score": self.accuracy, **scores, "answerable": self.answerable}


class Task(ABC):
    """A fine-tuning task."""

    name: ClassVar[str]
    """As in `lxmert finetune NAME` and in a recipe."""

    model_class: ClassVar[type[PreTrainedModel]]
    head_prefix: ClassVar[str]
    """Prefix of the weights that a pretrained model may lack, because this task trains them."""

    files_class: ClassVar[type[TaskFiles]]
    """The layout of this task's data directory; the defaults are the layout of `lxmert scenes make`."""

    @abstractmethod
    def score(self, examples: SplitExamples, predictions: Mapping[Any, str], **settings: Any) -> TaskScore:
        """The official scores.

        Args:
            examples: The annotated examples.
            predictions: The answer to every example by its id.
            settings: Fields of the recipe's evaluation section that apply to the metric.

        Raises:
            DataError: The split has no annotations.
        """

    @abstractmethod
    def write_submission(self, path: Path, examples: SplitExamples, predictions: Mapping[Any, str]) -> None:
        """Write the leaderboard's submission file, whole or not at all.

        Args:
            path: The file.
            examples: The examples.
            predictions: The answers by example id.

        Raises:
            DataError: It cannot be written.
        """

    @abstractmethod
    def reader(self, directory: Path, files: Any) -> SplitReader:
        """The reader of a data directory with the layout `files`, of `files_class`."""

    def split(
        self,
        directory: Path,
        name: str,
        files: TaskFiles | None = None,
        subset: Subset | None = None,
        purpose: Purpose = Purpose.SCORING,
    ) -> TaskSplit:
        """A split of this task's data; `files` None for the layout that `lxmert scenes make` writes."""
        reader = self.reader(directory, self.files_class() if files is None else files)
        return TaskSplit(reader, name, subset or Subset(), purpose)


@dataclass(frozen=True)
class PreparedTask:
    """A task prepared for the training loop.

    Attributes:
        model: The model to train.
        processor: The processor saved with it.
        train: The training examples.
        validation: The examples scored after each epoch, in a fixed order.
        collate_train: From training items to exactly the model's inputs and labels.
        collate_validation: The same for validation items.
        score: From predicted class ids, one per validation example, to a report.
        metadata: Figures about data and model for metrics.json.
        fingerprints: Fingerprints of the parts of the data, by name.
    """

    model: PreTrainedModel
    processor: LxmertProcessor
    train: TaskDataset
    validation: TaskDataset
    collate_train: Callable[[Sequence[Any]], dict[str, Any]]
    collate_validation: Callable[[Sequence[Any]], dict[str, Any]]
    score: Callable[[Sequence[int]], EvaluationReport]
    metadata: dict[str, Any]
    fingerprints: Mapping[str, str]


def get_answer_vocabulary(processor: LxmertProcessor) -> AnswerVocabulary:
    """The processor's answers as a vocabulary.

    Raises:
        ConfigurationError: The processor has none.
    """
    if processor.answers is None:
        raise ConfigurationError(
            "the model's folder has no answers.json, so its scores cannot become answers"
        )
    return AnswerVocabulary(processor.answers)


def _with_string_keys(scores: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): _with_string_keys(value) if isinstance(value, Mapping) else value
        for key, value in scores.items()
    }

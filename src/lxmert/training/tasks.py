"""What a fine-tuning task is: its data, its head and its metric. The loop is the same for all of them.

A task turns a recipe into a `PreparedTask`; `finetuning.finetune` does the rest. A new data set is one new
file with one more implementation of `Task`, and one more name in the recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from transformers import PreTrainedModel

from lxmert.processing import LxmertProcessor
from lxmert.training.recipe import FinetuneRecipe


class Report(Protocol):
    """A scored split."""

    @property
    def accuracy(self) -> float:
        """The figure that models are selected by, in percent."""
        ...

    @property
    def per_family(self) -> dict[str, float]:
        """The same figure per kind of question, in percent: a model that has collapsed shows here first."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        ...


class SizedDataset(Protocol):
    """A data set whose examples' lengths are known, for batches of like lengths."""

    @property
    def lengths(self) -> list[int]:
        """Length of each example."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class PreparedTask:
    """Everything that the loop needs of a task.

    Attributes:
        model: The model to train.
        processor: Saved beside it.
        train: The training examples.
        validation: The examples scored after each epoch, in a fixed order.
        collate_train: Training items to exactly the model's inputs and labels.
        collate_validation: The same for validation items.
        score: Predicted class ids, one per validation example, to a report.
        facts: Figures about data and model for metrics.json.
    """

    model: PreTrainedModel
    processor: LxmertProcessor
    train: SizedDataset
    validation: SizedDataset
    collate_train: Callable[[Sequence[Any]], dict[str, Any]]
    collate_validation: Callable[[Sequence[Any]], dict[str, Any]]
    score: Callable[[Sequence[int]], Report]
    facts: dict[str, Any]


class Task(Protocol):
    """One kind of fine-tuning."""

    name: str

    def prepare(self, recipe: FinetuneRecipe) -> PreparedTask:
        """Read the data and build the model.

        Raises:
            LxmertError: The data or the recipe's references are wrong.
        """
        ...

    def test(self, recipe: FinetuneRecipe, folder: str, split: str) -> Report:
        """Score a saved model folder on a split."""
        ...

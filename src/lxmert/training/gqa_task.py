"""The GQA task: official question files, the question answering head, the official figures.

Source: paper section 3.3 and the fine-tuning code of airsplay/lxmert.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lxmert.data.file_layouts import GqaFiles
from lxmert.data.gqa_split import GqaReader
from lxmert.data.labelled_split import LabelledReader
from lxmert.data.submissions import write_gqa_submission
from lxmert.data.task_split import SplitExamples, SplitReader
from lxmert.model import LxmertForQuestionAnswering
from lxmert.training.labelled_scores import score_labelled
from lxmert.training.metrics.gqa import gqa_scores
from lxmert.training.tasks import Task, TaskScore

# The figures shown of every model, in order.
_DISPLAYED_SCORES = ("binary", "open", "consistency", "validity", "plausibility", "distribution")


class GqaTask(Task):
    """Questions with one answer each, and a known structure."""

    name = "gqa"
    model_class = LxmertForQuestionAnswering
    head_prefix = "answer_head."
    files_class = GqaFiles

    def reader(self, directory: Path, files: GqaFiles) -> SplitReader:
        """See `Task.reader`."""
        return (LabelledReader if files.is_labelled else GqaReader)(directory, files)

    def score(self, examples: SplitExamples, predictions: Mapping[Any, str], **settings: Any) -> TaskScore:
        """See `Task.score`; with validity and plausibility if the layout has a choices file."""
        if isinstance(examples.split.reader, LabelledReader):
            return score_labelled(examples, predictions)
        scores = gqa_scores(
            predictions, [example.source for example in examples.examples], self._choices(examples)
        )
        shown = {name: value for name in _DISPLAYED_SCORES if (value := getattr(scores, name)) is not None}
        return TaskScore(scores.accuracy, shown, scores)

    def write_submission(self, path: Path, examples: SplitExamples, predictions: Mapping[Any, str]) -> None:
        """See `Task.write_submission`."""
        write_gqa_submission(path, predictions)

    def _choices(self, examples: SplitExamples) -> Any:
        reader: Any = examples.split.reader
        parts = [reader.choices(name) for name in examples.split.names]
        return None if None in parts else {key: choice for part in parts for key, choice in part.items()}

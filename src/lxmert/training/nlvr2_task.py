"""The NLVR2 task: official sentence files, the pair head, the official accuracy and consistency.

Source: paper sections 3.3 and 4.2 and the fine-tuning code of airsplay/lxmert.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lxmert.data.file_layouts import Nlvr2Files
from lxmert.data.nlvr2_split import Nlvr2Reader
from lxmert.data.submissions import write_nlvr2_submission
from lxmert.data.task_split import SplitExamples, SplitReader
from lxmert.model import LxmertForVisualReasoning
from lxmert.training.metrics.nlvr2 import nlvr2_scores
from lxmert.training.tasks import Task, TaskScore


class Nlvr2Task(Task):
    """Sentences that are true or false of a pair of images."""

    name = "nlvr2"
    model_class = LxmertForVisualReasoning
    head_prefix = "pair_head."
    files_class = Nlvr2Files

    def reader(self, directory: Path, files: Nlvr2Files) -> SplitReader:
        """See `Task.reader`."""
        return Nlvr2Reader(directory, files)

    def score(self, examples: SplitExamples, predictions: Mapping[Any, str], **settings: Any) -> TaskScore:
        """See `Task.score`."""
        scores = nlvr2_scores(predictions, [example.source for example in examples.examples])
        # A model with the same prediction for every example has collapsed, whatever its accuracy.
        shown = {"consistency": scores.consistency_percent, "predicted True": 100 * scores.predicted_true}
        return TaskScore(scores.accuracy_percent, shown, scores)

    def write_submission(self, path: Path, examples: SplitExamples, predictions: Mapping[Any, str]) -> None:
        """See `Task.write_submission`."""
        write_nlvr2_submission(path, {name: truth == "True" for name, truth in predictions.items()})

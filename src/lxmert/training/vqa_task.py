"""The VQA task: question files, the question answering head, the official accuracy.

Source: paper section 3.3 and the fine-tuning code of airsplay/lxmert.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lxmert.data.file_layouts import VqaFiles
from lxmert.data.labelled_split import LabelledReader
from lxmert.data.submissions import write_jsonl_submission, write_vqa_submission
from lxmert.data.task_split import SplitExamples, SplitReader
from lxmert.data.vqa_split import VqaReader
from lxmert.model import LxmertForQuestionAnswering
from lxmert.training.labelled_scores import score_labelled
from lxmert.training.metrics.vqa import VqaEvaluator, vqa_accuracy
from lxmert.training.tasks import Task, TaskScore


class VqaTask(Task):
    """Questions with a closed list of answers, ten annotators each."""

    name = "vqa"
    model_class = LxmertForQuestionAnswering
    head_prefix = "answer_head."
    files_class = VqaFiles

    def reader(self, directory: Path, files: VqaFiles) -> SplitReader:
        """See `Task.reader`."""
        return (LabelledReader if files.is_labelled else VqaReader)(directory, files)

    def score(
        self,
        examples: SplitExamples,
        predictions: Mapping[Any, str],
        *,
        evaluator: Literal["present", "before-2021-03"] = "present",
        **settings: Any,
    ) -> TaskScore:
        """See `Task.score`; `evaluator` is the version of the official evaluator."""
        if isinstance(examples.split.reader, LabelledReader):
            return score_labelled(examples, predictions)
        scores = vqa_accuracy(
            predictions, [example.source for example in examples.examples], VqaEvaluator(evaluator)
        )
        return TaskScore(scores.overall, scores.per_question_type, scores)

    def write_submission(self, path: Path, examples: SplitExamples, predictions: Mapping[Any, str]) -> None:
        """See `Task.write_submission`."""
        files: Any = examples.split.reader.files
        (write_jsonl_submission if files.is_jsonl else write_vqa_submission)(path, predictions)

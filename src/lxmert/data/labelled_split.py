"""Questions with scored answers, one file a split: the authors' VQA and GQA files, or the user's own data."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.file_layouts import GqaFiles, VqaFiles
from lxmert.data.image_files import resolve_extension
from lxmert.data.jsonl_questions import read_jsonl_questions
from lxmert.data.labels import LabelledQuestion, best_answer
from lxmert.data.lxmert_json import read_lxmert_gqa, read_lxmert_vqa
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_examples import IGNORED_LABEL, Purpose, Target, TaskExample
from lxmert.data.task_split import SplitReader


class LabelledReader(SplitReader):
    """Questions with scored answers, one file a split, images by name."""

    files: VqaFiles | GqaFiles

    def read(
        self, split: str, purpose: Purpose, progress: StartProgress = no_progress
    ) -> Sequence[TaskExample]:
        """See `SplitReader.read`; the kind is the question type, which only VQA's files have."""
        path = self.files.questions_path(self.directory, split)
        return [
            TaskExample(
                question.question_id, question.question, (question.image,), question.question_type, question
            )
            for question in self._read_file(path, purpose, progress)
        ]

    def _read_file(self, path: Path, purpose: Purpose, progress: StartProgress) -> list[LabelledQuestion]:
        if isinstance(self.files, VqaFiles) and self.files.is_jsonl:
            return read_jsonl_questions(path, annotated=purpose is not Purpose.PREDICTION, progress=progress)
        read: Any = read_lxmert_vqa if isinstance(self.files, VqaFiles) else read_lxmert_gqa
        return read(path, progress=progress)

    def target(self, example: TaskExample, answers: AnswerVocabulary) -> Target:
        """All scored answers, labelled with the highest-scored one."""
        question: LabelledQuestion = example.source
        scores = answers.merge_scores(question.label or {})
        return Target(max(scores, key=lambda label: scores[label], default=IGNORED_LABEL), scores)

    def vocabulary(self, examples: Iterable[TaskExample], min_count: int) -> AnswerVocabulary:
        """See `SplitReader.vocabulary`; each question counts for its best answer."""
        labels = (example.source.label for example in examples)
        return AnswerVocabulary.from_answers(map(best_answer, filter(None, labels)), min_count=min_count)

    def image_path(self, split: str, example: TaskExample, image_index: int) -> Path:
        """See `SplitReader.image_path`."""
        return resolve_extension(
            self.directory / self.files.images.format(split=split) / example.images[image_index]
        )

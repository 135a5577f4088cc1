"""The splits of a GQA-style data directory: official question files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.file_layouts import GqaFiles
from lxmert.data.gqa import read_gqa
from lxmert.data.gqa_scene_graphs import GqaChoices, read_gqa_choices
from lxmert.data.image_files import resolve_extension
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_examples import IGNORED_LABEL, Purpose, Target, TaskExample
from lxmert.data.task_split import SplitReader


class GqaReader(SplitReader):
    """Questions in GQA's format; a question has one answer, written as the vocabulary writes it."""

    files: GqaFiles

    def read(
        self, split: str, purpose: Purpose, progress: StartProgress = no_progress
    ) -> Sequence[TaskExample]:
        """See `SplitReader.read`; kinds are the structural types: query, verify, logical, choose, compare."""
        path = self.files.questions_path(self.directory, split)
        examples = [
            TaskExample(
                example.question_id, example.question, (example.image_id,), example.structural, example
            )
            for example in read_gqa(path, details=purpose is Purpose.SCORING, progress=progress)
        ]
        choices = self.files.choices_path(self.directory, split)
        # Read here to show its progress; a missing file is reported where it is needed.
        if purpose is Purpose.SCORING and choices is not None and choices.exists():
            self.choices(split, progress)
        return examples

    def choices(self, split: str, progress: StartProgress = no_progress) -> Mapping[str, GqaChoices] | None:
        """The valid and plausible answers by question id, None if the layout has no such file.

        Raises:
            DataError: The file is missing or malformed.
        """
        path = self.files.choices_path(self.directory, split)
        return None if path is None else self.read_once(read_gqa_choices, path, progress=progress)

    def target(self, example: TaskExample, answers: AnswerVocabulary) -> Target:
        """The one answer, exactly as spelled: GQA's evaluator compares letter by letter."""
        answer = example.source.answer
        label = None if answer is None else answers.label(answer)
        return Target(IGNORED_LABEL, {}) if label is None else Target(label, {label: 1.0})

    def vocabulary(self, examples: Iterable[TaskExample], min_count: int) -> AnswerVocabulary:
        """See `SplitReader.vocabulary`."""
        answers = (example.source.answer for example in examples)
        return AnswerVocabulary.from_answers(
            (answer for answer in answers if answer is not None), min_count=min_count
        )

    def image_path(self, split: str, example: TaskExample, image_index: int) -> Path:
        """See `SplitReader.image_path`."""
        return resolve_extension(self.files.image_path(self.directory, split, example.source.image_id))

"""The splits of an NLVR2-style data directory: official JSON lines, or the authors' re-distributed file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.file_layouts import Nlvr2Files
from lxmert.data.image_files import resolve_extension
from lxmert.data.lxmert_json import read_lxmert_nlvr2
from lxmert.data.nlvr2 import Nlvr2Example, local_path, read_nlvr2
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_examples import IGNORED_LABEL, Purpose, Target, TaskExample
from lxmert.data.task_split import SplitReader, reject_shared_names

TRUTH_VALUES = ("False", "True")
"""The two classes in order, spelled as in the data set."""


class Nlvr2Reader(SplitReader):
    """Sentences about pairs of images."""

    files: Nlvr2Files

    def read(
        self, split: str, purpose: Purpose, progress: StartProgress = no_progress
    ) -> Sequence[TaskExample]:
        """See `SplitReader.read`; there are no kinds."""
        path = self.files.sentences_path(self.directory, split)
        read = read_lxmert_nlvr2 if self.files.format == "lxmert" else read_nlvr2
        pairs = read(path, progress=progress)
        reject_shared_names(
            path,
            (
                (name, local_path(url) or name)
                for pair in pairs
                for name, url in ((pair.left_image, pair.left_url), (pair.right_image, pair.right_url))
            ),
        )
        return [
            TaskExample(
                example.identifier, example.sentence, (example.left_image, example.right_image), None, example
            )
            for example in pairs
        ]

    def target(self, example: TaskExample, answers: AnswerVocabulary) -> Target:
        """Class 1 for a true sentence, 0 for a false one."""
        truth = example.source.label
        return Target(IGNORED_LABEL, {}) if truth is None else Target(int(truth), {int(truth): 1.0})

    def vocabulary(self, examples: Iterable[TaskExample], min_count: int) -> AnswerVocabulary:
        """The two truth values, whatever the examples."""
        return AnswerVocabulary(TRUTH_VALUES)

    def image_path(self, split: str, example: TaskExample, image_index: int) -> Path:
        """The example's url if it is a path, else the file of the image's name."""
        pair: Nlvr2Example = example.source
        path = local_path((pair.left_url, pair.right_url)[image_index])
        if path is not None:
            return self.directory / path
        return resolve_extension(
            self.files.image_path(self.directory, split, pair.directory, example.images[image_index])
        )

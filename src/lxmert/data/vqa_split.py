"""The splits of a VQA-style data directory: official question files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.coco import CocoImage, read_instances
from lxmert.data.file_layouts import VqaFiles
from lxmert.data.image_files import resolve_extension
from lxmert.data.image_names import image_stem
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.task_examples import IGNORED_LABEL, Purpose, Target, TaskExample
from lxmert.data.task_split import SplitReader, reject_shared_names
from lxmert.data.vqa import VqaExample, read_vqa
from lxmert.errors import DataError


class VqaReader(SplitReader):
    """Questions in VQA v2's format about images in COCO's naming, or as an instances file names them."""

    files: VqaFiles

    def read(
        self, split: str, purpose: Purpose, progress: StartProgress = no_progress
    ) -> Sequence[TaskExample]:
        """See `SplitReader.read`."""
        is_annotated = purpose is not Purpose.PREDICTION
        examples = read_vqa(
            self.files.questions_path(self.directory, split),
            self.files.annotations_path(self.directory, split) if is_annotated else None,
            progress=progress,
        )
        names = self._image_names(split, examples.image_ids, progress)
        return [
            TaskExample(
                example.question_id,
                example.question,
                (names[example.image_id],),
                example.question_type,
                example,
            )
            for example in examples
        ]

    def target(self, example: TaskExample, answers: AnswerVocabulary) -> Target:
        """All scored answers, labelled with the most frequent one, else with the highest-scored one."""
        vqa: VqaExample = example.source
        scores = answers.soft_scores(vqa.answers, normalise=True)
        top = None if vqa.multiple_choice_answer is None else answers.find(vqa.multiple_choice_answer)
        if top is None:
            top = max(scores, key=lambda label: scores[label], default=IGNORED_LABEL)
        return Target(top, scores)

    def vocabulary(self, examples: Iterable[TaskExample], min_count: int) -> AnswerVocabulary:
        """See `SplitReader.vocabulary`."""
        return AnswerVocabulary.build((example.source for example in examples), min_count=min_count)

    def image_path(self, split: str, example: TaskExample, image_index: int) -> Path:
        """See `SplitReader.image_path`."""
        image_id = example.source.image_id
        instances = self._by_id(split)
        name = None if instances is None else instances[image_id].file_name
        return resolve_extension(self.files.image_path(self.directory, split, image_id, name))

    def _image_names(self, split: str, image_ids: Sequence[int], progress: StartProgress) -> dict[int, str]:
        instances = self._by_id(split, progress)
        path = self.files.instances_path(self.directory, split)
        if instances is None:
            path = self.files.questions_path(self.directory, split)
            files = {
                image_id: self.files.image_name.format(split=split, image_id=image_id)
                for image_id in image_ids
            }
        else:
            unknown = [image_id for image_id in image_ids if image_id not in instances]
            if unknown:
                raise DataError(
                    f"{path}: {len(unknown)} of the {len(image_ids)} images of the questions are missing, "
                    f"starting with {unknown[0]}"
                )
            files = {image_id: instances[image_id].file_name for image_id in image_ids}
        names = {image_id: image_stem(file) for image_id, file in files.items()}
        reject_shared_names(path, ((names[image_id], file) for image_id, file in files.items()))
        return names

    def _by_id(self, split: str, progress: StartProgress = no_progress) -> Mapping[int, CocoImage] | None:
        path = self.files.instances_path(self.directory, split)
        return None if path is None else self.read_once(read_instances, path, progress=progress)

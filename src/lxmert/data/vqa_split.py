"""One split of a VQA-style data directory, from files to a data set ready for batching."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.coco import read_instances
from lxmert.data.collation import QuestionDataset
from lxmert.data.feature_store import FeatureStore
from lxmert.data.files import VqaFiles, check_directory
from lxmert.data.object_labels import ObjectLabels
from lxmert.data.region_table import Advance, RegionTable, extract_split
from lxmert.data.vqa import VqaExample, read_vqa
from lxmert.errors import ConfigurationError, DataError
from lxmert.processing import LxmertProcessor

# Starts a progress bar: a description and the number of images; returns what to call with each image count.
StartProgress = Callable[[str, int], Advance]


def no_progress(description: str, total: int) -> Advance:
    """A `StartProgress` that shows nothing."""
    return lambda images: None


@dataclass(frozen=True)
class VqaSplit:
    """Where a split lies and how much of it is wanted.

    Attributes:
        directory: The data directory.
        name: The split's name, such as "train".
        files: The directory's layout.
        first_images: Only questions about the first so many images; None for all.
        question_types: Only questions of these types; None for all.
        first_questions: Only the first so many of these questions; None for all.
        features: Feature store that holds the images' regions already; None extracts them.
    """

    directory: Path
    name: str
    files: VqaFiles = field(default_factory=VqaFiles)
    first_images: int | None = None
    question_types: Sequence[str] | None = None
    first_questions: int | None = None
    features: Path | None = None

    def examples(self) -> tuple[VqaExample, ...]:
        """Read the wanted examples, in the order of the questions file.

        Raises:
            DataError: A file is missing or malformed, or there is no question of a wanted type.
        """
        check_directory(self.directory)
        data = read_vqa(
            self.files.questions_path(self.directory, self.name),
            self.files.annotations_path(self.directory, self.name),
        )
        examples = data.examples
        if self.first_images is not None:
            images = set(data.image_ids[: self.first_images])
            examples = tuple(example for example in examples if example.image_id in images)
        if self.question_types is not None:
            absent = set(self.question_types) - {example.question_type for example in examples}
            if absent:
                raise DataError(
                    f"{self.directory}: no {self.name} question is of type {', '.join(sorted(absent))}"
                )
            examples = tuple(example for example in examples if example.question_type in self.question_types)
        return examples[: self.first_questions]

    def object_labels(self, regions: RegionTable) -> ObjectLabels:
        """Class and attribute of the objects of a table made of this split, row by row.

        They are what the extractor says, or else what the instances file says of the given boxes.

        Raises:
            DataError: There is no instances file, or it is malformed.
        """
        if regions.object_labels is not None:
            return regions.object_labels
        path = self.files.instances_path(self.directory, self.name)
        if path is None:
            raise DataError(
                f"object labels come from an instances file, but the layout of {self.directory} has none"
            )
        instances = read_instances(path)
        return ObjectLabels.from_images([instances[image_id] for image_id in regions.rows])

    def dataset(
        self,
        processor: LxmertProcessor,
        answers: AnswerVocabulary,
        *,
        examples: Sequence[VqaExample] | None = None,
        progress: StartProgress = no_progress,
    ) -> QuestionDataset:
        """Extract the regions of the split's images and tokenise its questions.

        Args:
            processor: Gives the extractor, the tokenizer and the text length.
            answers: The vocabulary of targets.
            examples: What `examples()` returned, to read the files only once.
            progress: Shows the extraction.

        Raises:
            ConfigurationError: The processor has no extractor.
            DataError: A file is missing or malformed, or an image asked about is not in the instances file.
            ImageError: An image cannot be read.
        """
        if processor.extractor is None:
            raise ConfigurationError(
                "the processor has no extractor, so images cannot become regions; give it one"
            )
        examples = self.examples() if examples is None else examples
        image_ids = list(dict.fromkeys(example.image_id for example in examples))
        regions = extract_split(
            self.directory,
            self.files,
            self.name,
            image_ids,
            processor.extractor,
            progress(f"Looking at {self.name} images", len(image_ids)),
            None if self.features is None else FeatureStore(self.features),
        )
        return QuestionDataset(examples, processor.tokenizer, processor.max_text_length, regions, answers)

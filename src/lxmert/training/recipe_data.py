"""The data sections of fine-tuning recipes, in which the tasks differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from lxmert.data.answers import DEFAULT_MIN_COUNT, AnswerVocabulary
from lxmert.data.files import GqaFiles, Nlvr2Files, TaskFiles, VqaFiles
from lxmert.training.recipe_base import Section

SCENES = "scenes"
"""Name of the made world's word list or answer list, which need no file."""


ANNOTATIONS = "annotations"
"""Name of the answers collected from the training split."""


class AnswersSection(Section):
    """The closed list of answers."""

    source: str = Field(
        default=ANNOTATIONS,
        description='"annotations" collects them from the training split, "scenes" takes the made world\'s '
        "list, anything else is the path of a published table (JSON), counted from where the command runs.",
    )
    min_count: int = Field(
        default=DEFAULT_MIN_COUNT,
        ge=1,
        description="Questions an answer must be the most frequent answer of (public pipeline: 9).",
    )

    def vocabulary(self, collect: Callable[[int], AnswerVocabulary]) -> AnswerVocabulary:
        """The answers in class order.

        Args:
            collect: collects the training questions' answers, given their minimum count.

        Raises:
            LxmertError: A table is missing or malformed, or no answer is frequent enough.
        """
        if self.source == ANNOTATIONS:
            return collect(self.min_count)
        if self.source == SCENES:
            from lxmert.scenes.vocabulary import answer_list

            return AnswerVocabulary(answer_list())
        return AnswerVocabulary.load(self.source)


class GqaAnswersSection(AnswersSection):
    """The closed list of GQA's answers."""

    min_count: int = Field(
        default=1, ge=1, description="Questions that must have an answer (authors' table: 1)."
    )


class DataSection(Section):
    """The data."""

    directory: Path = Field(description="Data directory; a relative path counts from where the command runs.")
    train_split: str = Field(
        default="train", description='Split to train on, or several joined: "train,nominival".'
    )
    validation_split: str = Field(default="val", description="Split scored after each epoch.")
    test_split: str | None = Field(
        default="test", description="Split scored once at the end with the saved weights."
    )
    train_images: int | None = Field(
        default=None,
        ge=1,
        description="Train on the examples of the first so many images only; null for all.",
    )
    train_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Train on this share of the examples only, always the same ones, a smaller share being "
        "part of a larger; null for all.",
    )
    validation_images: int | None = Field(
        default=None, ge=1, description="`train_images` for the validation split."
    )
    files: TaskFiles = Field(default_factory=TaskFiles, description="File names in the directory.")
    extractor: dict[str, Any] | None = Field(
        default_factory=lambda: {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 10}},
        description="Specification of the region extractor, as in processor_config.json; null takes what the "
        "feature store holds, whatever made it, and the model then comes without an extractor.",
    )
    features: Path | list[Path] | None = Field(
        default=None,
        description="Feature store that `lxmert extract` filled with this extractor, or `lxmert features "
        "import`, or a list of such; null extracts the regions before training. An image that they lack is "
        "an error.",
    )

    @property
    def stores(self) -> list[Path]:
        """The feature stores."""
        if self.features is None:
            return []
        return self.features if isinstance(self.features, list) else [self.features]


class VqaDataSection(DataSection):
    """Questions in VQA v2's format."""

    train_question_types: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Train on questions of these types only, as the annotations name them; null for all.",
    )
    files: VqaFiles = Field(default_factory=VqaFiles, description="File names in the directory.")
    answers: AnswersSection = Field(default_factory=AnswersSection)


class GqaDataSection(DataSection):
    """Questions in GQA's format."""

    train_question_types: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Train on questions of these structural types only, such as query; null for all.",
    )
    files: GqaFiles = Field(default_factory=GqaFiles, description="File names in the directory.")
    answers: GqaAnswersSection = Field(default_factory=GqaAnswersSection)


class Nlvr2DataSection(DataSection):
    """Sentences in NLVR2's format."""

    files: Nlvr2Files = Field(default_factory=Nlvr2Files, description="File names in the directory.")

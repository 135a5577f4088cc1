"""The data sections of fine-tuning recipes, in which the tasks differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from lxmert.data.answers import DEFAULT_MIN_COUNT, AnswerVocabulary
from lxmert.data.file_layouts import GqaFiles, Nlvr2Files, TaskFiles, VqaFiles
from lxmert.training.recipe_base import Section

SCENES = "scenes"
"""Name of the made world's word list or answer list, which need no file."""


ANNOTATIONS = "annotations"
"""Name of the answers collected from the training split."""


class AnswersSection(Section):
    """The closed list of answers."""

    source: str = Field(
        default=ANNOTATIONS,
        description='Source of the answers: "annotations" (collected from the training split), "scenes" (the '
        "answers of the synthetic scenes), or the path of a published table (JSON), relative to the "
        "working directory.",
    )
    min_count: int = Field(
        default=DEFAULT_MIN_COUNT,
        ge=1,
        description="Keep answers that are the most frequent answer to at least this many questions (public "
        "pipeline: 9).",
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
        default=1, ge=1, description="Keep answers to at least this many questions (authors' table: 1)."
    )


class DataSection(Section):
    """The data."""

    directory: Path = Field(description="Data directory; a relative path starts at the working directory.")
    train_split: str = Field(
        default="train",
        description='Split to train on; several are joined with commas, as in "train,nominival".',
    )
    validation_split: str = Field(default="val", description="Split scored after each epoch.")
    test_split: str | None = Field(
        default="test", description="Split scored once at the end, with the saved weights."
    )
    train_images: int | None = Field(
        default=None,
        ge=1,
        description="Train only on the examples of the first N images; null for all.",
    )
    train_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Train only on this share of the examples; null for all. The choice is always the same, "
        "and a smaller share is part of a larger.",
    )
    validation_images: int | None = Field(
        default=None, ge=1, description="The same as `train_images`, for the validation split."
    )
    files: TaskFiles = Field(default_factory=TaskFiles, description="File names in the data directory.")
    extractor: dict[str, Any] | None = Field(
        default_factory=lambda: {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 10}},
        description="Specification of the region extractor, as in processor_config.json; null: use the "
        "contents of the feature store, whatever made them, and save the model without an extractor.",
    )
    features: Path | list[Path] | None = Field(
        default=None,
        description="Feature store, or list of stores, written by `lxmert extract` with this extractor or by "
        "`lxmert features import`; null: extract the regions before training. Images missing from the "
        "stores are an error.",
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
        description="Train only on questions of these types, as named in the annotations; null for all.",
    )
    files: VqaFiles = Field(default_factory=VqaFiles, description="File names in the data directory.")
    answers: AnswersSection = Field(default_factory=AnswersSection)


class GqaDataSection(DataSection):
    """Questions in GQA's format."""

    train_question_types: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Train only on questions of these structural types, such as query; null for all.",
    )
    files: GqaFiles = Field(default_factory=GqaFiles, description="File names in the data directory.")
    answers: GqaAnswersSection = Field(default_factory=GqaAnswersSection)


class Nlvr2DataSection(DataSection):
    """Sentences in NLVR2's format."""

    files: Nlvr2Files = Field(default_factory=Nlvr2Files, description="File names in the data directory.")

"""The recipe of a pre-training run: everything that decides its result, typed and checked at once.

Sources of defaults: "paper" is Tan & Bansal 2019 with the authors' released code, "small scale" means
measured on small models from scratch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lxmert.data.corpus_sections import CorpusSection
from lxmert.training.pretraining.target_counts import TASKS
from lxmert.training.recipe import ModelSection, TextSection
from lxmert.training.recipe_base import Recipe, Section
from lxmert.training.recipe_data import AnswersSection
from lxmert.training.recipe_sections import EncoderLoopSection, SavingSection

# Parameters of LxmertConfig that follow from the data or from the tasks.
_DERIVED = {
    "num_qa_labels": "the answers",
    "visual_feat_dim": "the features",
    "num_object_labels": "the features",
    "num_attr_labels": "the features",
    "task_matched": "tasks.matched",
    "task_mask_lm": "tasks.masked_words",
    "task_obj_predict": "tasks",
    "task_qa": "tasks.qa",
    "visual_obj_loss": "tasks.object_labels",
    "visual_attr_loss": "tasks.attribute_labels",
    "visual_feat_loss": "tasks.feature_regression",
}


class PretrainModelSection(ModelSection):
    """Which model is trained."""

    bert: str | None = Field(
        default=None,
        description="Folder or hub name of a BERT model that initialises a new model: embeddings, language "
        "layers (from its first layers), pooler, masked-word and matching heads, and the vocabulary.",
    )

    @model_validator(mode="after")
    def _check_single_source(self) -> Self:
        if self.from_pretrained is not None and (self.config or self.vocabulary or self.bert):
            raise ValueError(
                "from_pretrained brings its own config, vocabulary and weights; use only one of them"
            )
        if self.from_pretrained is None and self.vocabulary is None and self.bert is None:
            raise ValueError("a vocabulary is required without from_pretrained or bert")
        return self

    @field_validator("config")
    @classmethod
    def _check_no_derived_values(cls, config: dict[str, Any]) -> dict[str, Any]:
        derived = sorted(_DERIVED.keys() & config.keys())
        if derived:
            names = ", ".join(f"{name} ({_DERIVED[name]})" for name in derived)
            raise ValueError(f"{names} must not be set: derived from the data in parentheses")
        return config


class PretrainDataSection(Section):
    """The data."""

    directory: Path = Field(
        default=Path(),
        description="Data directory, to which the file names of sources are relative; a relative path starts "
        "at the working directory.",
    )
    train: CorpusSection = Field(description="Sentences to train on.")
    validation: CorpusSection = Field(description="Sentences to evaluate the model on.")
    features: tuple[Path, ...] = Field(
        min_length=1,
        description="Feature store with the regions of all images, or a list of stores written by the same "
        "extractor.",
    )
    train_images: int | None = Field(
        default=None,
        ge=1,
        description="Train only on the sentences about the first N images of `train`; null for all.",
    )
    validation_images: int | None = Field(
        default=None, ge=1, description="The same as `train_images`, for `validation`."
    )
    extractor: dict[str, Any] | None = Field(
        default=None,
        description="Specification of the region extractor that wrote the store, as in "
        "processor_config.json, so that the model accepts images; null for a model that accepts regions "
        "only.",
    )
    answers: AnswersSection = Field(
        default_factory=AnswersSection,
        description="The closed list of answers; `annotations` collects it from the training questions.",
    )
    in_memory_gib: float = Field(
        default=2.0, ge=0, description="Keep the regions in memory if they take at most this much, in GiB."
    )

    @field_validator("features", mode="before")
    @classmethod
    def _wrap_single_path(cls, features: Any) -> Any:
        if isinstance(features, str | Path):
            return [features]
        if not isinstance(features, list | tuple) or not features:
            raise ValueError(f"expected one or more feature stores, got {features!r}")
        return features


class TasksSection(Section):
    """The tasks. A task of weight 0 is left out."""

    masked_words: float = Field(
        default=1.0, ge=0, description="Weight of predicting masked words (paper: 1)."
    )
    matched: float = Field(
        default=1.0, ge=0, description="Weight of predicting whether sentence and image match (paper: 1)."
    )
    object_labels: float = Field(
        default=1.0,
        ge=0,
        description="Weight of predicting object classes, on top of the model's visual_loss_normalizer "
        "(paper: 1).",
    )
    attribute_labels: float = Field(
        default=1.0, ge=0, description="Weight of predicting object attributes, likewise (paper: 1)."
    )
    feature_regression: float = Field(
        default=1.0,
        ge=0,
        description="Weight of regressing the features of masked objects, likewise (paper: 1).",
    )
    qa: float = Field(
        default=1.0,
        ge=0,
        description="Weight of answering questions (released code: 1; the paper's two stages: 2).",
    )
    qa_from: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Fraction of the run after which question answering starts (released code: 0; paper: "
        "0.5).",
    )
    place_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of predicting where the objects are. Without it, object prediction makes small "
        "models forget positions (small scale). The head is not saved (paper: none).",
    )
    object_label_loss: Literal["all_confidence", "masked"] = Field(
        default="all_confidence",
        description="all_confidence: predict all objects, weighted by the detector's confidence (released "
        "code). masked: predict masked objects (paper).",
    )
    word_mask_rate: float = Field(
        default=0.15, gt=0, lt=1, description="Fraction of word pieces to mask (paper: 0.15)."
    )
    mismatch_probability: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="With `matched`, probability of pairing an image with a sentence about another image "
        "(paper: 0.5).",
    )
    object_mask_rate: float = Field(
        default=0.15,
        ge=0,
        lt=1,
        description="Fraction of objects to mask (paper: 0.15); 0: predict objects without masking them.",
    )

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each task of TASKS."""
        values = {task: getattr(self, task) for task in TASKS if task != "places"}
        return values | {"places": self.place_weight}

    @model_validator(mode="after")
    def _check_masked_objects(self) -> Self:
        names_masked = self.object_labels + self.attribute_labels > 0 and self.object_label_loss == "masked"
        if self.object_mask_rate == 0 and (self.feature_regression > 0 or names_masked):
            raise ValueError(
                "with object_mask_rate 0 no object is masked: set feature_regression to 0 and "
                "object_label_loss to all_confidence"
            )
        return self

    @model_validator(mode="after")
    def _check_any_weight(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError("every task has weight 0: there is nothing to learn")
        if self.qa_from > 0 and not any(weight for task, weight in self.weights.items() if task != "qa"):
            raise ValueError(
                "before qa_from there is nothing to learn: set the weight of another task, or set qa_from "
                "to 0"
            )
        return self


class PretrainOptimisationSection(EncoderLoopSection):
    """Optimisation."""

    epochs: float = Field(default=20, gt=0, description="Passes over the training sentences (paper: 20).")
    batch_size: int = Field(default=256, ge=1, description="Sentences per batch and process (paper: 256).")
    peak_learning_rate: float = Field(default=1e-4, gt=0, description="Highest learning rate (paper: 1e-4).")
    warmup: float = Field(
        default=0.05,
        ge=0,
        description="Warm-up length: below 1, a fraction of all steps (paper: 0.05); otherwise, a number of "
        "steps.",
    )
    max_gradient_norm: float = Field(
        default=1.0,
        ge=0,
        description="Clip gradients to this norm; 0: no clipping (paper: 1).",
    )


class PretrainEvaluationSection(Section):
    """Evaluation."""

    batch_size: int = Field(default=256, ge=1, description="Sentences per batch in evaluation.")
    every_steps: int | None = Field(
        default=None, ge=1, description="Steps between validations; null: one after each epoch."
    )


class PretrainRecipe(Recipe):
    """One pre-training run."""

    model: PretrainModelSection
    data: PretrainDataSection
    text: TextSection = Field(default_factory=TextSection)
    tasks: TasksSection = Field(default_factory=TasksSection)
    optimisation: PretrainOptimisationSection = Field(default_factory=PretrainOptimisationSection)
    evaluation: PretrainEvaluationSection = Field(default_factory=PretrainEvaluationSection)
    saving: SavingSection = Field(default_factory=SavingSection)

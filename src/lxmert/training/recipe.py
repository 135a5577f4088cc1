"""The recipe of a fine-tuning run: everything that decides its result, typed and checked at once.

A recipe is a YAML file of the sections below; its `task` selects the kind, and tasks differ in little more
than their data. Unknown keys are errors, all faults are reported together, and the resolved recipe (every
default filled in) is saved with each run. Sources of defaults: "paper" is Tan & Bansal 2019 with the authors'
released commands; "small scale" means measured on small models from scratch.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lxmert.configuration import LxmertConfig
from lxmert.errors import ConfigurationError
from lxmert.training.recipe_base import Recipe, Section
from lxmert.training.recipe_data import DataSection, GqaDataSection, Nlvr2DataSection, VqaDataSection
from lxmert.training.recipe_sections import EncoderLoopSection, SavingSection

# Parameters of LxmertConfig that a recipe does not choose.
_DERIVED_FROM_DATA = {"num_qa_labels", "visual_feat_dim"}
_DERIVED_FROM_VOCABULARY = {"pad_token_id"}


class ModelSection(Section):
    """Which model is trained."""

    from_pretrained: str | None = Field(
        default=None,
        description='Model to start from, with its tokenizer: "scenes" (the embedded model), a folder, or a '
        "hub name; null: random weights.",
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Values of LxmertConfig that differ from its defaults; only without from_pretrained. "
        "num_qa_labels and visual_feat_dim are derived from the data, pad_token_id from the vocabulary, "
        "so they must not be set; vocab_size may exceed the vocabulary.",
    )
    vocabulary: str | None = Field(
        default=None,
        description='WordPiece vocabulary, if from_pretrained is not set: path of a vocab.txt, or "scenes" '
        "for the words of the synthetic scenes.",
    )

    @model_validator(mode="after")
    def _check_single_source(self) -> Self:
        if self.from_pretrained is not None and (self.config or self.vocabulary is not None):
            raise ValueError("from_pretrained brings its own config and vocabulary; use only one of the two")
        if self.from_pretrained is None and self.vocabulary is None:
            raise ValueError("a vocabulary is required without from_pretrained")
        return self

    @field_validator("config")
    @classmethod
    def _check_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        for source, names in (("data", _DERIVED_FROM_DATA), ("vocabulary", _DERIVED_FROM_VOCABULARY)):
            if derived := sorted(names & config.keys()):
                raise ValueError(f"{' and '.join(derived)} must not be set: derived from the {source}")
        unknown = sorted(config.keys() - inspect.signature(LxmertConfig).parameters.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not a parameter of LxmertConfig")
        # Raises ConfigurationError, a ValueError, with all faults.
        LxmertConfig(**config)
        return config


class TextSection(Section):
    """Tokenisation of questions."""

    max_length: int = Field(
        default=20,
        ge=3,
        description="Maximum number of tokens in a question, including [CLS] and [SEP] (paper: 20).",
    )
    pad_to_multiple_of: int = Field(
        default=1,
        ge=1,
        description="Pad batches of questions to a multiple of this length. 16 suits the vector units of "
        "CPUs: their softmax over 16 words is far faster than over 14.",
    )
    lower_case: bool = Field(
        default=True, description="Lower-case questions (paper: the uncased BERT vocabulary)."
    )


class OptimisationSection(EncoderLoopSection):
    """How the weights move."""

    object_prediction: bool = Field(
        default=False,
        description="Also learn the classes and attributes of the objects, taken from the detector or else "
        "from the instances file (object prediction, paper section 3.1.2). The loss is weighted by the "
        "model's visual_loss_normalizer; the head is not saved.",
    )
    place_weight: float = Field(
        default=0.0,
        ge=0,
        description="With object_prediction, weight of also learning where the objects are. Without it, "
        "object prediction makes small models forget positions.",
    )
    epochs: float = Field(default=4, gt=0, description="Passes over the training examples (paper: 4).")
    batch_size: int = Field(default=32, ge=1, description="Examples per step and process (paper: 32).")
    peak_learning_rate: float = Field(
        default=5e-5, gt=0, description="Highest learning rate (paper: 5e-5, for GQA 1e-5)."
    )
    warmup: float = Field(
        default=0.1,
        ge=0,
        description="Warm-up length: below 1, a fraction of all steps (paper: 0.1); otherwise, a number of "
        "steps.",
    )
    max_gradient_norm: float = Field(
        default=5.0,
        ge=0,
        description="Clip gradients to this norm; 0: no clipping (paper: 5).",
    )

    @model_validator(mode="after")
    def _check_place_weight(self) -> Self:
        if self.place_weight > 0 and not self.object_prediction:
            raise ValueError(
                "place_weight requires object_prediction: true; omit it, or set object_prediction"
            )
        return self


class AnswerOptimisation(OptimisationSection):
    """How the weights of a model with a closed list of answers move."""

    loss: Literal["soft_bce", "cross_entropy"] = Field(
        default="soft_bce",
        description="soft_bce: binary cross-entropy with soft scores, summed over answers (paper). "
        "cross_entropy: softmax cross-entropy with the most frequent answer.",
    )


class GqaOptimisation(AnswerOptimisation):
    """`AnswerOptimisation` with the paper's learning rate for GQA."""

    peak_learning_rate: float = Field(
        default=1e-5, gt=0, description="Highest learning rate (paper: 1e-5 for GQA)."
    )


class EvaluationSection(Section):
    """Evaluation."""

    batch_size: int = Field(default=512, ge=1, description="Examples per batch in evaluation.")


class VqaEvaluation(EvaluationSection):
    """Evaluation of questions with ten annotators."""

    evaluator: Literal["present", "before-2021-03"] = Field(
        default="present",
        description="Version of the official VQA evaluator (the paper's figures use before-2021-03).",
    )


class FinetuneRecipe(Recipe):
    """One fine-tuning run. Reading a recipe returns that of its task."""

    task: str = Field(description="Task to train: vqa, gqa or nlvr2.")
    model: ModelSection
    data: DataSection
    text: TextSection = Field(default_factory=TextSection)
    optimisation: OptimisationSection = Field(default_factory=OptimisationSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    saving: SavingSection = Field(default_factory=SavingSection)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = "recipe") -> Self:
        """Validate values from any source; a recipe without `task` is one of VQA.

        Raises:
            ConfigurationError: With all faults, one after the other.
        """
        if cls is not FinetuneRecipe:
            return super().from_dict(values, origin)
        task = values.get("task", "vqa")
        kind = _RECIPES.get(task) if isinstance(task, str) else None
        if kind is None:
            raise ConfigurationError(f"{origin}: task: expected one of {', '.join(_RECIPES)} (got {task!r})")
        return kind.from_dict(values, origin)  # type: ignore[return-value]


class VqaRecipe(FinetuneRecipe):
    """Fine-tuning on questions with ten annotators' answers."""

    task: Literal["vqa"] = Field(default="vqa", description="Task to train.")
    data: VqaDataSection
    optimisation: AnswerOptimisation = Field(default_factory=AnswerOptimisation)
    evaluation: VqaEvaluation = Field(default_factory=VqaEvaluation)

    @model_validator(mode="after")
    def _check_evaluator(self) -> Self:
        if self.data.files.is_labelled and self.evaluation.evaluator != "present":
            raise ValueError(
                f"evaluation.evaluator {self.evaluation.evaluator} applies only to the official files; "
                "others are scored by their soft labels, so omit it"
            )
        return self


class GqaRecipe(FinetuneRecipe):
    """Fine-tuning on questions with one answer and a known structure."""

    task: Literal["gqa"] = Field(default="gqa", description="Task to train.")
    data: GqaDataSection
    optimisation: GqaOptimisation = Field(default_factory=GqaOptimisation)


class Nlvr2Recipe(FinetuneRecipe):
    """Fine-tuning on sentences that are true or false of two images."""

    task: Literal["nlvr2"] = Field(default="nlvr2", description="Task to train.")
    data: Nlvr2DataSection


_RECIPES: Mapping[str, type[FinetuneRecipe]] = {"vqa": VqaRecipe, "gqa": GqaRecipe, "nlvr2": Nlvr2Recipe}

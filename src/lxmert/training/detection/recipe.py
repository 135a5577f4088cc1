"""The recipe of a detector's training: everything that decides its result, typed and checked at once.

Sources of defaults: "published" is the Visual Genome training of Anderson et al. 2018, "Faster R-CNN" is Ren
et al. 2015, "small scale" means measured on small detectors from scratch.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lxmert.data.box_annotations import AttributeNaming
from lxmert.data.file_layouts import CocoBoxFiles, VisualGenomeFiles
from lxmert.training.recipe_base import Recipe, Section
from lxmert.training.recipe_sections import LoopSection, SavingSection, Schedule
from lxmert.vision.faster_rcnn.configuration import STEM_STRIDE, FasterRcnnConfig

# Parameters of FasterRcnnConfig that a recipe does not choose.
_DERIVED_FROM_DATA = {"num_object_labels", "num_attr_labels", "object_names", "attribute_names"}

# One cell of the coarsest feature map, that of res4: a smaller picture has no features of its own.
_LEAST_SIDE_PX = 4 * STEM_STRIDE

_PARAMETERS = {
    name: parameter
    for name, parameter in inspect.signature(FasterRcnnConfig).parameters.items()
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD
}


class DetectorSection(Section):
    """Which detector is trained."""

    from_pretrained: str | None = Field(
        default=None,
        description='Detector to start from: "scenes" (the embedded detector), a folder, or a hub name; '
        "null: random weights. Heads whose classes or attributes differ from those of the data are "
        "reinitialised.",
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Values of FasterRcnnConfig that differ from its defaults (freeze_norms: false and "
        "freeze_at: 0 when starting from scratch) or, with from_pretrained, from the pretrained ones "
        "(freezing, image sizes, selection; not the architecture). Numbers and names of classes are "
        "derived from the data.",
    )

    @field_validator("config")
    @classmethod
    def _check_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        derived = sorted(_DERIVED_FROM_DATA & config.keys())
        if derived:
            raise ValueError(f"{' and '.join(derived)} must not be set: derived from the data")
        unknown = sorted(config.keys() - _PARAMETERS.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not a parameter of FasterRcnnConfig")
        for name, value in config.items():
            if isinstance(_PARAMETERS[name].default, tuple) and not isinstance(value, list | tuple):
                raise ValueError(f"{name} is {value!r}, expected a list")
        return config

    @model_validator(mode="after")
    def _check_new_config(self) -> Self:
        if self.from_pretrained is None:
            # Raises ConfigurationError, a ValueError, with all faults.
            FasterRcnnConfig(**self.config)
        return self


class DetectionDataSection(Section):
    """The data."""

    directory: Path = Field(description="Data directory; a relative path starts at the working directory.")
    format: Literal["coco", "visual_genome"] = Field(default="coco", description="Format of the boxes.")
    train_split: str = Field(default="train", description="Split to train on.")
    validation_split: str = Field(default="val", description="Split scored after each epoch.")
    test_split: str | None = Field(
        default="test", description="Split scored once at the end, with the saved weights."
    )
    train_images: int | None = Field(
        default=None, ge=1, description="Train only on the first N images; null for all."
    )
    validation_images: int | None = Field(
        default=None, ge=1, description="The same as `train_images`, for the validation split."
    )
    attributes: AttributeNaming = Field(
        default="combined",
        description='For COCO records with "attributes": all values of a box as one name ("small solid '
        'red"), each value separately, or none. For Visual Genome: each separately, or none. If a box has '
        "several attributes, each epoch learns one, drawn at random.",
    )
    attribute_keys: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Attributes of COCO records to use, in this order; null for all, in the order of the "
        "records.",
    )
    object_vocabulary: Path | None = Field(
        default=None,
        description="File of class names, one per line, with synonyms after commas; null: collect the names "
        "from the training split.",
    )
    attribute_vocabulary: Path | None = Field(
        default=None, description="The same as `object_vocabulary`, for attributes."
    )
    min_count: int = Field(
        default=1,
        ge=1,
        description="Keep collected names that have at least this many boxes in the training split.",
    )
    coco_files: CocoBoxFiles = Field(default_factory=CocoBoxFiles, description="File names for format: coco.")
    visual_genome_files: VisualGenomeFiles = Field(
        default_factory=VisualGenomeFiles, description="File names for format: visual_genome."
    )

    @model_validator(mode="after")
    def _check_attribute_options(self) -> Self:
        if self.attributes == "none" and (self.attribute_keys or self.attribute_vocabulary):
            raise ValueError(
                "attributes: none learns no attributes; omit attribute_keys and attribute_vocabulary"
            )
        return self


class AugmentationSection(Section):
    """Variation of pictures from epoch to epoch."""

    mirror_share: float = Field(
        default=0.5, ge=0, le=1, description="Probability of a horizontal flip (Faster R-CNN: 0.5)."
    )
    min_sizes_px: list[Annotated[int, Field(ge=_LEAST_SIDE_PX)]] = Field(
        default_factory=list,
        description="Lengths of the shorter side of the resized picture, one drawn at random; empty: always "
        "that of the configuration; at least 16 each. If size is an attribute, random sizes remove its cue.",
    )


def _check_positives(per_image: int, positive_share: float) -> None:
    if int(per_image * positive_share) == 0:
        raise ValueError(
            f"positive_share {positive_share} of per_image {per_image} is less than one positive, so "
            "nothing would be found; raise one of them"
        )


class AnchorSamplingSection(Section):
    """Sampling of anchors."""

    positive_from: float = Field(
        default=0.7, gt=0, le=1, description="Minimum overlap of a positive (Faster R-CNN)."
    )
    negative_below: float = Field(
        default=0.3, gt=0, le=1, description="Overlap below which an anchor is negative (Faster R-CNN)."
    )
    per_image: int = Field(default=256, ge=1, description="Anchors sampled per image (Faster R-CNN: 256).")
    positive_share: float = Field(
        default=0.5, gt=0, le=1, description="Maximum fraction of positives (Faster R-CNN)."
    )
    smooth_l1_beta: float = Field(
        default=1 / 9,
        gt=0,
        description="Difference at which the box loss becomes linear (Faster R-CNN: 1/9).",
    )

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        _check_positives(self.per_image, self.positive_share)
        if self.negative_below > self.positive_from:
            raise ValueError(
                f"negative_below {self.negative_below} is more than positive_from {self.positive_from}"
            )
        return self


class RoiSamplingSection(Section):
    """Sampling of RoIs."""

    positive_from: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Minimum overlap of foreground; less is background (Faster R-CNN: 0.5).",
    )
    per_image: int = Field(default=64, ge=1, description="RoIs sampled per image (published: 64).")
    positive_share: float = Field(
        default=0.25, gt=0, le=1, description="Maximum fraction of foreground (Fast R-CNN)."
    )
    smooth_l1_beta: float = Field(
        default=1.0, gt=0, description="Difference at which the box loss becomes linear."
    )

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        _check_positives(self.per_image, self.positive_share)
        return self


class LossWeights(Section):
    """Weights of the losses."""

    proposal_class: float = Field(default=1.0, ge=0, description="Weight of the objectness of anchors.")
    proposal_box: float = Field(default=1.0, ge=0, description="Weight of the boxes of anchors.")
    object_class: float = Field(default=1.0, ge=0, description="Weight of the classes of RoIs.")
    object_box: float = Field(default=1.0, ge=0, description="Weight of the boxes of RoIs.")
    attribute: float = Field(
        default=0.5, ge=0, description="Weight of the attributes of foreground RoIs (published: 0.5)."
    )

    @model_validator(mode="after")
    def _check_any_weight(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("every loss has weight 0: there is nothing to learn")
        return self


class LossSection(Section):
    """The losses."""

    anchors: AnchorSamplingSection = Field(default_factory=AnchorSamplingSection)
    rois: RoiSamplingSection = Field(default_factory=RoiSamplingSection)
    weights: LossWeights = Field(default_factory=LossWeights)


class DetectorOptimisationSection(LoopSection):
    """Optimisation."""

    epochs: float = Field(default=4, gt=0, description="Passes over the training images.")
    batch_size: int = Field(default=8, ge=1, description="Images per step.")
    peak_learning_rate: float = Field(
        default=1e-3, gt=0, description="Highest learning rate of AdamW (small scale: 1e-3 to 2e-3)."
    )
    schedule: Schedule = Field(
        default="cosine", description="Learning rate schedule after the warm-up; linear and cosine end at 0."
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        description="Warm-up length: below 1, a fraction of all steps; otherwise, a number of steps.",
    )
    weight_decay: float = Field(
        default=0.01,
        ge=0,
        description="Weight decay of AdamW on matrices and filters; biases and norms have none.",
    )
    adam_epsilon: float = Field(default=1e-8, gt=0, description="AdamW's epsilon.")
    seed: int = Field(
        default=1, ge=0, lt=2**32, description="Random seed of weights, order, augmentation and samples."
    )
    loader_processes: int = Field(
        default=0,
        ge=0,
        description="Number of processes that read images in advance; 0: read them in the main "
        "process. Does not change the result.",
    )


class DetectorEvaluationSection(Section):
    """Evaluation: images one by one, with the model's own suppression, without a score threshold."""

    max_detections: int = Field(
        default=100, ge=1, description="Maximum number of detections per image to evaluate (COCO: 100)."
    )


class DetectorRecipe(Recipe):
    """One training run of a detector."""

    model: DetectorSection
    data: DetectionDataSection
    augmentation: AugmentationSection = Field(default_factory=AugmentationSection)
    losses: LossSection = Field(default_factory=LossSection)
    optimisation: DetectorOptimisationSection = Field(default_factory=DetectorOptimisationSection)
    evaluation: DetectorEvaluationSection = Field(default_factory=DetectorEvaluationSection)
    saving: SavingSection = Field(default_factory=SavingSection)

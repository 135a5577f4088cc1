"""Settings of the pre-training tasks (paper section 3.1)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from lxmert.data.masking import ObjectMasking, WordMasking

ObjectTarget = Literal["obj", "attr", "feat"]
ObjectLabelLoss = Literal["all_confidence", "masked"]


@dataclass(frozen=True)
class PretrainingSettings:
    """Which pre-training tasks a model is given, and how. The defaults are those of the released code.

    Attributes:
        seed: of all randomness in the examples.
        words: how words are masked; None neither masks nor predicts any.
        objects: how objects are masked; None masks none, so that there are no features to predict.
        mismatch_probability: probability that an image's sentence is replaced by another image's; 0 leaves
            all pairs unchanged and turns the matching task off.
        object_targets: what is predicted of the objects, any of "obj" (class), "attr" (attribute) and "feat"
            (features).
        object_label_loss: "all_confidence" predicts class and attribute of all objects, weighted by the
            extractor's confidence, as in the released code; "masked" only of the chosen ones, with weight 1,
            as in the paper.
    """

    seed: int = 9595
    words: WordMasking | None = field(default_factory=WordMasking)
    objects: ObjectMasking | None = field(default_factory=ObjectMasking)
    mismatch_probability: float = 0.5
    object_targets: Collection[ObjectTarget] = ("obj", "attr", "feat")
    object_label_loss: ObjectLabelLoss = "all_confidence"

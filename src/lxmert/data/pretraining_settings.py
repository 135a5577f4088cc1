"""What is asked of a model in pre-training (paper section 3.1)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from lxmert.data.masking import ObjectMasking, WordMasking

ObjectTarget = Literal["obj", "attr", "feat"]
ObjectLabelLoss = Literal["all_confidence", "masked"]


@dataclass(frozen=True)
class PretrainingSettings:
    """What is asked of a model in pre-training. The defaults are those of the released code.

    Attributes:
        seed: of all that is random about examples.
        words: how words are hidden; None hides none and asks for none.
        objects: how objects are hidden; None hides none, so that there are no features to predict.
        mismatch_probability: how often another image's sentence stands in the place of the image's own; 0
            leaves all pairs as they are and does not ask about them.
        object_targets: what is asked of the objects, any of "obj" (class), "attr" (attribute) and "feat"
            (features).
        object_label_loss: "all_confidence" asks for class and attribute of all objects, weighted by the
            extractor's confidence, as the released code does; "masked" only of those chosen, all weighing 1,
            as the paper says.
    """

    seed: int = 9595
    words: WordMasking | None = field(default_factory=WordMasking)
    objects: ObjectMasking | None = field(default_factory=ObjectMasking)
    mismatch_probability: float = 0.5
    object_targets: Collection[ObjectTarget] = ("obj", "attr", "feat")
    object_label_loss: ObjectLabelLoss = "all_confidence"

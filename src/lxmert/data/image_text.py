"""One sentence about one image: what every corpus of pre-training is made of."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageText:
    """One sentence about one image.

    Attributes:
        image: The image's name without extension, such as "COCO_val2014_000000000042".
        sentence: The sentence as written.
        source: Where it comes from: "mscoco", "vg", "vqa", "gqa", "visual7w", or a name of one's own.
        answers: Answer to score of a question; None for a caption.
    """

    image: str
    sentence: str
    source: str
    answers: Mapping[str, float] | None = None

    @property
    def best_answer(self) -> str | None:
        """The answer of the highest score, the first of equals; None where there is none."""
        scores = self.answers
        return max(scores, key=scores.__getitem__) if scores else None

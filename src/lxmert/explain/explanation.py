"""The result of `explain`: a weight for each word and each object, in numbers and as a picture.

Shapes: G words, N objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lxmert.answers import Answer
from lxmert.errors import RegionsError
from lxmert.vision.drawing import draw_weighted
from lxmert.vision.images import ImageSource, load_image
from lxmert.vision.regions import Regions

_DIGITS = 6


@dataclass(frozen=True)
class Explanation:
    """Which words and which objects an answer rests on.

    Attributes:
        question: as it was asked.
        answer: the answer that is explained, with its probability.
        method: name of the method, which decides what the weights measure.
        words: the G words of the question, as the tokenizer spells them.
        word_weights: G numbers, the larger the more the answer rests on the word.
        object_weights: N numbers likewise, in the order of `regions`.
        regions: the objects.
        full_weight: the weight of a sole cause of the answer; None if the method has no such scale.
    """

    question: str
    answer: Answer
    method: str
    words: tuple[str, ...]
    word_weights: tuple[float, ...]
    object_weights: tuple[float, ...]
    regions: Regions
    full_weight: float | None = None

    def ranked_objects(self) -> list[int]:
        """Return the positions of the objects in `regions`, greatest weight first."""
        return sorted(range(len(self.object_weights)), key=lambda row: -self.object_weights[row])

    def word_shares(self) -> list[float]:
        """Return the words' weights in -1..1, as shares of the full weight, or of the largest without one."""
        return _shares(self.word_weights, self.full_weight)

    def object_shares(self) -> list[float]:
        """Return the objects' weights in -1..1 likewise."""
        return _shares(self.object_weights, self.full_weight)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON: question, answer, method, and the weights of words and objects."""
        return {
            "question": self.question,
            "answer": {"answer": self.answer.text, "probability": round(self.answer.probability, _DIGITS)},
            "method": self.method,
            "words": [
                {"word": word, "weight": round(weight, _DIGITS)}
                for word, weight in zip(self.words, self.word_weights, strict=True)
            ],
            "objects": [round(weight, _DIGITS) for weight in self.object_weights],
        }

    def draw(self, image: ImageSource, labels: Sequence[str] | None = None) -> Image.Image:
        """Draw the picture with its objects lit by weight and the words below.

        Args:
            image: the picture that the regions were extracted from.
            labels: names of the N objects.

        Raises:
            RegionsError: a picture of another size than that of the regions, or not one label for each.
            ImageError: the picture cannot be read.
        """
        picture = load_image(image)
        height, width = self.regions.size_hw
        if picture.size != (width, height):
            raise RegionsError(
                f"the picture is {picture.width} x {picture.height} pixels, but the objects are those of one "
                f"of {width} x {height}; pass the picture that they were found in"
            )
        return draw_weighted(
            picture,
            self.regions.boxes_xyxy_px,
            self.object_shares(),
            labels=labels,
            words=list(zip(self.words, self.word_shares(), strict=True)),
            caption=f"{self.answer.text or repr('')} ({self.answer.probability:.0%})",
        )


def _shares(weights: Sequence[float], full_weight: float | None) -> list[float]:
    largest = full_weight or max(map(abs, weights), default=0.0) or 1.0
    return [min(1.0, max(-1.0, weight / largest)) for weight in weights]

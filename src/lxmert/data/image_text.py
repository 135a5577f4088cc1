"""One sentence about one image: what every corpus of pre-training is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

from lxmert.data.answer_table import normalise_table_answer


@dataclass(frozen=True, slots=True)
class ImageText:
    """One sentence about one image.

    Attributes:
        image: The image's name as its source gives it, such as "COCO_val2014_000000000042".
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
        """The answer of the highest score, the first of equals, in the spelling of the pre-training table.

        Scores of spellings that meet add up. None where there is no answer.
        """
        scores: dict[str, float] = {}
        for answer, score in (self.answers or {}).items():
            spelled = normalise_table_answer(answer)
            scores[spelled] = min(1.0, scores.get(spelled, 0.0) + score)
        return max(scores, key=scores.__getitem__, default=None)

"""One sentence about one image: the unit of every pre-training corpus."""

from collections.abc import Mapping
from dataclasses import dataclass

from lxmert.data.answer_table import normalise_table_answer
from lxmert.data.labels import best_answer, merge_answers


@dataclass(frozen=True, slots=True)
class ImageText:
    """One sentence about one image.

    Attributes:
        image: The image's name in its source, such as "COCO_val2014_000000000042".
        sentence: The sentence as written.
        source: Its source: "mscoco", "vg", "vqa", "gqa", "visual7w", or a custom name.
        answers: A question's answers and their scores; None for a caption.
    """

    image: str
    sentence: str
    source: str
    answers: Mapping[str, float] | None = None

    @property
    def best_answer(self) -> str | None:
        """The highest-scored answer, the first of equals, in the spelling of the pre-training table.

        Scores of the same answer in several spellings add up. None if there is no answer.
        """
        scores = merge_answers(self.answers or {}, normalise_table_answer)
        return best_answer(scores) if scores else None

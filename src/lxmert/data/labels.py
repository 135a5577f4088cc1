"""Labels `{answer: score}`, from a file or from annotators' answers, and questions that have them."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from lxmert.data.interning import StringInterner
from lxmert.data.json_files import JsonRecord
from lxmert.errors import DataError

Label = Mapping[str, float]

_Merged = TypeVar("_Merged", bound=Hashable)

# Scores are sums of tenths or thirds, sometimes in float32; those above 1 by less than this become 1.
_ROUNDING = 1e-6

# Score of an answer given by n annotators; four or more give 1. Equals the official leave-one-out accuracy
# for ten annotators.
SCORE_BY_ANNOTATORS = (0.0, 0.3, 0.6, 0.9, 1.0)


def annotator_score(annotators: int) -> float:
    """The soft score of an answer that this many annotators gave: 0, 0.3, 0.6, 0.9, then 1."""
    return SCORE_BY_ANNOTATORS[min(annotators, len(SCORE_BY_ANNOTATORS) - 1)]


def best_answer(label: Label) -> str:
    """The answer with the highest score, the first of equals; `label` must not be empty."""
    return max(label, key=lambda answer: label[answer])


def merge_answers(label: Label, merge_as: Callable[[str], _Merged | None]) -> dict[_Merged, float]:
    """Scores of a label by what its answers become, such as one spelling or a class id.

    Args:
        label: answers and scores, which may be numbers of NumPy.
        merge_as: what an answer becomes; None leaves it out.

    Returns:
        The scores, as Python floats, in the order of the label; those of answers that become the same add up,
        to at most 1.
    """
    merged: dict[_Merged, float] = {}
    for answer, score in label.items():
        key = merge_as(answer)
        if key is not None:
            merged[key] = min(1.0, merged.get(key, 0.0) + float(score))
    return merged


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """One question about one image with scored answers.

    Attributes:
        question_id: An int in VQA's files, a str in GQA's, either in the user's own data.
        image: The image's name, without extension in these files.
        question: The question as written.
        label: The answers and their scores; None in a file without answers.
        question_type: The question's family; None if the file does not say.
        answer_type: "yes/no", "number" or "other"; None if the file does not say.
    """

    question_id: int | str
    image: str
    question: str
    label: Label | None = None
    question_type: str | None = None
    answer_type: str | None = None


class LabelInterner:
    """Reads labels and returns one object for equal ones, since most of a million questions share a few.

    Attributes:
        intern_string: Returns one object for equal strings.
    """

    def __init__(self) -> None:
        self.intern_string = StringInterner()
        self._labels: dict[tuple[tuple[str, float], ...], Label] = {}

    def read(self, record: JsonRecord, key: str) -> Label:
        """The field `key`, which must map answers to scores from 0 to 1; it may be empty.

        Raises:
            DataError: It does not.
        """
        return self.parse(record.record(key))

    def parse(self, record: JsonRecord) -> Label:
        """The same for a JSON object that is the label itself."""
        scores = {answer: record.number(answer) for answer in record.value}
        for score in scores.values():
            if not 0 <= score <= 1 + _ROUNDING:
                side = "below 0" if score < 0 else "above 1"
                raise DataError(f"{record.path}: {record.location} has a score {side}, expected 0 to 1")
        return self.intern({answer: min(score, 1.0) for answer, score in scores.items()})

    def intern(self, scores: Label) -> Label:
        """The first label equal to this one."""
        items = tuple(scores.items())
        label = self._labels.get(items)
        if label is None:
            label = self._labels[items] = {self.intern_string(answer): score for answer, score in items}
        return label

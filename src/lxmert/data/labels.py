"""Labels `{answer: score}`, read from a file or made of what people said, and questions that have them."""

from collections.abc import Mapping
from dataclasses import dataclass

from lxmert.data.json_files import Record
from lxmert.data.sharing import Shared
from lxmert.errors import DataError

Label = Mapping[str, float]

# Scores are sums of tenths or thirds, in float32 at times; what they exceed 1 by is taken off.
_ROUNDING = 1e-6

# Score of an answer given by n annotators; four or more give 1. Equals the official leave-one-out accuracy
# for ten annotators.
SCORE_BY_ANNOTATORS = (0.0, 0.3, 0.6, 0.9, 1.0)


def annotator_score(annotators: int) -> float:
    """The soft score of an answer that this many annotators gave: 0, 0.3, 0.6, 0.9, then 1."""
    return SCORE_BY_ANNOTATORS[min(annotators, len(SCORE_BY_ANNOTATORS) - 1)]


def best_answer(label: Label) -> str:
    """The answer with the highest score, the first of several; `label` holds at least one."""
    return max(label, key=lambda answer: label[answer])


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """One question about one image with scored answers.

    Attributes:
        question_id: An int in VQA's files, a str in GQA's, either in data of one's own.
        image: The image's name, without extension in these files.
        question: The question as written.
        label: Answer to score; None in a file without answers.
        question_type: The question's family; None where the file does not say.
        answer_type: "yes/no", "number" or "other"; None where the file does not say.
    """

    question_id: int | str
    image: str
    question: str
    label: Label | None = None
    question_type: str | None = None
    answer_type: str | None = None


class SharedLabels:
    """Reads labels and gives one object for equal ones, for most of a million questions have the same few.

    Attributes:
        shared: Gives one object for equal strings.
    """

    def __init__(self) -> None:
        self.shared = Shared()
        self._labels: dict[tuple[tuple[str, float], ...], Label] = {}

    def read(self, record: Record, key: str) -> Label:
        """The field `key`, which must map answers to scores from 0 to 1; it may be empty.

        Raises:
            DataError: It does not.
        """
        return self.of_record(record.record(key))

    def of_record(self, record: Record) -> Label:
        """The same for a JSON object that is the label itself."""
        scores = {answer: record.number(answer) for answer in record.value}
        for score in scores.values():
            if not 0 <= score <= 1 + _ROUNDING:
                side = "below 0" if score < 0 else "above 1"
                raise DataError(f"{record.path}: {record.place} has a score {side}, expected 0 to 1")
        return self.of({answer: min(score, 1.0) for answer, score in scores.items()})

    def of(self, scores: Label) -> Label:
        """The first of the labels that equal this one."""
        items = tuple(scores.items())
        label = self._labels.get(items)
        if label is None:
            label = self._labels[items] = {self.shared(answer): score for answer, score in items}
        return label

"""Reading a label `{answer: score}` from an annotation file."""

from collections.abc import Mapping

from lxmert.data.json_files import Record
from lxmert.data.sharing import Shared
from lxmert.errors import DataError

Label = Mapping[str, float]

# Scores are sums of tenths or thirds, in float32 at times; what they exceed 1 by is taken off.
_ROUNDING = 1e-6


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

"""Faults of a prediction file: their kinds, counts, and first occurrences."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from lxmert.errors import MAX_SHOWN_CHARACTERS, short_repr

# How many occurrences of a fault are kept.
_MAX_EXAMPLES = 5


class FaultKind(Enum):
    """Kinds of faults, described for users."""

    UNREADABLE = "file that cannot be read"
    BYTE_ORDER_MARK = "byte order mark before the first row"
    MALFORMED = "malformed rows"
    ID_TYPE = "ids of the wrong type"
    ANSWER_TYPE = "answers of the wrong type"
    DUPLICATE = "rows with a repeated id"
    MISSING = "questions without a prediction"
    UNKNOWN = "predictions for unknown questions"
    EMPTY_ANSWER = "empty answers"
    PADDED_ANSWER = "answers with surrounding white space"
    NEITHER_TRUE_NOR_FALSE = "predictions that are neither True nor False"
    BLANK_LINE = "blank lines"
    SURPLUS_FIELD = "lines with more than two fields"


# Rows with these faults cannot be scored.
UNUSABLE = (FaultKind.MALFORMED, FaultKind.ID_TYPE, FaultKind.ANSWER_TYPE)


@dataclass(frozen=True)
class Fault:
    """One kind of fault in a submission.

    Attributes:
        kind: What is wrong.
        count: How often.
        examples: Its first occurrences, at most five.
    """

    kind: FaultKind
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.kind.value}: {self.count:,} ({', '.join(self.examples)}{more})"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind.name.lower().replace("_", "-"),
            "count": self.count,
            "examples": list(self.examples),
        }


class FaultCounter:
    """Counts faults by kind and keeps the first occurrences of each."""

    def __init__(self) -> None:
        self._counts: dict[FaultKind, int] = {}
        self._examples: dict[FaultKind, list[str]] = {}

    def add(self, kind: FaultKind, example: object) -> None:
        """Count one fault; the example says where it is."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(str(example))

    def faults(self) -> tuple[Fault, ...]:
        """The faults counted, in the order of `FaultKind`."""
        return tuple(
            Fault(kind, self._counts[kind], tuple(self._examples[kind]))
            for kind in FaultKind
            if kind in self._counts
        )


def format_id(identifier: object) -> str:
    """An id for a message: unquoted if it is short plain text, else quoted."""
    text = str(identifier)
    is_short = 0 < len(text) <= MAX_SHOWN_CHARACTERS
    plain = is_short and text.isprintable() and text.isascii() and text == text.strip()
    return text if plain else short_repr(identifier)

"""The table of answers that pre-training predicts, and its rule of spelling.

Source: airsplay/lxmert, its answer table class and `data/lxmert/all_ans.json`: 9,500 entries {"ans": answer,
"dsets": [data set]}, whose index in the list is the class id.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.json_files import JsonRecord, read_json
from lxmert.data.labels import merge_answers
from lxmert.errors import DataError, VocabularyError

_ARTICLES = ("a ", "an ", "the ")
_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1
    )
}
_SPELLINGS = {**_DIGITS, "grey": "gray"}


def normalise_table_answer(answer: str) -> str:
    """Normalise an answer to the spelling of the table of pre-training answers.

    Lower-cases it, removes one final full stop and a leading "a", "an" and "the" (each once, in this order),
    writes numbers to ten as digits, and "grey" as "gray". Nothing else is changed.
    """
    answer = answer.lower()
    if answer.endswith("."):
        answer = answer[:-1].strip()
    for article in _ARTICLES:
        if answer.startswith(article):
            answer = answer[len(article) :].strip()
    return _SPELLINGS.get(answer, answer)


class AnswerTable:
    """Answers in class order, each with the data sets in which it occurs.

    Args:
        entries: Answer and its data sets, in class order.
        qa_sets: Only answers that occur in one of these data sets, which then have new class ids; None for
            all. This does not filter questions: one of another set stays if its answer is among them.

    Attributes:
        vocabulary: The answers in class order.
        qa_sets: The data sets in which each answer occurs.

    Raises:
        VocabularyError: There are no answers, one occurs twice, or no answer belongs to one of `qa_sets`.
    """

    def __init__(
        self, entries: Iterable[tuple[str, Collection[str]]], *, qa_sets: Collection[str] | None = None
    ) -> None:
        selected = [(answer, frozenset(sets)) for answer, sets in entries]
        table_sets = sorted(set().union(*(sets for _, sets in selected)))
        unknown = sorted(set(qa_sets or ()) - set(table_sets))
        if unknown:
            raise VocabularyError(
                f"no answer in the table belongs to {', '.join(unknown)}; the table has "
                f"{', '.join(table_sets)}"
            )
        if qa_sets is not None:
            selected = [(answer, sets) for answer, sets in selected if sets & set(qa_sets)]
        self.vocabulary = AnswerVocabulary(answer for answer, _ in selected)
        self.qa_sets: Mapping[str, frozenset[str]] = dict(selected)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __repr__(self) -> str:
        return f"AnswerTable({len(self):,} answers)"

    def find(self, answer: str) -> int | None:
        """The class id of an answer, normalised to the table's spelling, or None."""
        return self.vocabulary.label(normalise_table_answer(answer))

    def rewrite_label(self, label: Mapping[str, float], *, overwrite: bool = False) -> dict[str, float]:
        """Rewrite a label in the table's spelling, without answers outside the table; it may become empty.

        Args:
            label: Answer to score.
            overwrite: How to merge spellings of the same answer. False: their scores add up, to at most 1.
                True: one overwrites the others, as in the original code: the last that is not in the
                table's spelling, else the one that is.
        """
        spellings = {answer: normalise_table_answer(answer) for answer in label}
        known = {answer: score for answer, score in label.items() if spellings[answer] in self.vocabulary}
        if not overwrite:
            return merge_answers(known, spellings.__getitem__)
        kept = {answer: score for answer, score in known.items() if spellings[answer] == answer}
        respelled = {
            spellings[answer]: score for answer, score in known.items() if spellings[answer] != answer
        }
        return kept | respelled

    @classmethod
    def load(cls, path: str | Path, *, qa_sets: Collection[str] | None = None) -> "AnswerTable":
        """Read a table in the published form, `all_ans.json`.

        Raises:
            DataError: The file is missing or malformed.
            VocabularyError: See the class.
        """
        entries = read_json(path)
        if not isinstance(entries, list):
            raise DataError(f"{path}: expected a list of answers, got {type(entries).__name__}")
        records = [JsonRecord(entry, path, f"[{number}]") for number, entry in enumerate(entries)]
        pairs = [(record.get("ans", str), record.strings("dsets")) for record in records]
        try:
            return cls(pairs, qa_sets=qa_sets)
        except VocabularyError as error:
            raise VocabularyError(f"{path}: {error}") from None

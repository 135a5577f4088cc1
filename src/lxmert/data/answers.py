"""Answer vocabularies: the closed list of answers that a question answering head chooses from.

Source: bottom-up-attention-vqa `compute_softscore.py` and the authors' published tables
(airsplay/lxmert).

The order of the published tables cannot be reproduced (it was a Python 2 dict's), so they are loaded, never
rebuilt. A list built here is ordered by descending frequency, then alphabetically.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from lxmert.answers import validate_answers, write_answers
from lxmert.data.answer_normalisation import normalise_answer, normalise_raw_answer
from lxmert.data.json_files import describe, read_json
from lxmert.data.labels import annotator_score, merge_answers
from lxmert.data.vqa import VqaExample
from lxmert.errors import DataError, VocabularyError, short_repr
from lxmert.faults import is_int_in_range

# The published VQA vocabulary keeps answers that are the most frequent answer of nine questions or more.
DEFAULT_MIN_COUNT = 9

# How many unknown answers a coverage names.
_MAX_UNKNOWN_SHOWN = 20


@dataclass(frozen=True)
class AnswerCoverage:
    """How much of a data set an answer vocabulary can express.

    Attributes:
        questions: Number of questions.
        answerable: Questions with at least one annotator's answer in the vocabulary.
        top_answer_known: Questions whose most frequent answer is in the vocabulary.
        best_score: Mean over questions of the highest soft score in the vocabulary, 0..1: no model that
            answers from this vocabulary can score higher.
        unknown: The most frequent answers that are not in the vocabulary, each with the number of questions
            whose best answer it is, in descending order.
    """

    questions: int
    answerable: int
    top_answer_known: int
    best_score: float
    unknown: tuple[tuple[str, int], ...] = ()

    def summary(self) -> str:
        """A one-line summary."""
        share = 100 * self.answerable / max(self.questions, 1)
        return (
            f"{self.answerable:,} of {self.questions:,} questions ({share:.1f} %) have an answer in the "
            f"vocabulary; the best possible score is {100 * self.best_score:.2f} %"
        )


class AnswerVocabulary(Sequence[str]):
    """A list of answers; an answer's index is its class id.

    Args:
        answers: The answers in class order. The empty string is allowed (class 0 of the published VQA table).

    Raises:
        VocabularyError: No answers, one that is not a string, or one that occurs twice.
    """

    def __init__(self, answers: Iterable[str]) -> None:
        self._answers = tuple(validate_answers(list(answers)))
        self._labels = {answer: label for label, answer in enumerate(self._answers)}

    def __len__(self) -> int:
        return len(self._answers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._answers[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __contains__(self, answer: object) -> bool:
        return answer in self._labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnswerVocabulary) and self._answers == other._answers

    def __hash__(self) -> int:
        return hash(self._answers)

    def __repr__(self) -> str:
        return f"AnswerVocabulary({len(self)} answers: {', '.join(map(repr, self._answers[:3]))}, ...)"

    def label(self, answer: str) -> int | None:
        """The class id of an answer, exactly as spelled; None if it is not in the vocabulary."""
        return self._labels.get(answer)

    def find(self, answer: str) -> int | None:
        """The class id of an answer as spelled, or of its normalised form, or None."""
        label = self.label(answer)
        return self.label(_normalise_for_vocabulary(answer)) if label is None else label

    def soft_scores(self, answers: Sequence[str], *, normalise: bool = False) -> dict[int, float]:
        """The sparse training target of one question: class id to score.

        Args:
            answers: The annotators' raw answers.
            normalise: False counts the raw strings, as for the published labels. True normalises them
                first, so that spellings of the same answer are counted together.

        Returns:
            Scores 0.3, 0.6, 0.9 or 1 of the answers that are in the vocabulary, in ascending class order.
        """
        spelled = (normalise_raw_answer(answer) for answer in answers) if normalise else answers
        counts = Counter(label for answer in spelled if (label := self.label(answer)) is not None)
        return {label: annotator_score(counts[label]) for label in sorted(counts)}

    def merge_scores(self, scores: Mapping[str, float], *, normalise: bool = False) -> dict[int, float]:
        """Class ids and scores of an existing `{answer: score}` label, as in the authors' files.

        Scores of spellings of the same class are added up, to at most 1 (in the original code the last one
        overwrote the others, which loses annotators). Unknown answers are left out.
        """
        merged = merge_answers(
            scores, lambda answer: self.label(normalise_raw_answer(answer) if normalise else answer)
        )
        return dict(sorted(merged.items()))

    def coverage(self, examples: Iterable[VqaExample], *, normalise: bool = False) -> AnswerCoverage:
        """Count how many annotated questions this vocabulary can answer."""
        return self._compute_coverage(
            (
                (self.soft_scores(example.answers, normalise=normalise), example.multiple_choice_answer)
                for example in examples
            ),
            self.find,
        )

    def coverage_of(
        self, labels: Iterable[Mapping[str, float]], *, normalise: bool = False
    ) -> AnswerCoverage:
        """The same for labels `{answer: score}`; a GQA question's is `{example.answer: 1.0}`."""
        return self._compute_coverage(
            (
                (
                    self.merge_scores(label, normalise=normalise),
                    max(label, key=lambda answer: label[answer], default=None),
                )
                for label in labels
            ),
            self.find if normalise else self.label,
        )

    def _compute_coverage(
        self,
        answers_with_top: Iterable[tuple[Mapping[int, float], str | None]],
        lookup: Callable[[str], int | None],
    ) -> AnswerCoverage:
        """Coverage from each question's known scores and best answer."""
        questions = answerable = top_known = 0
        best = 0.0
        unknown: Counter[str] = Counter()
        for scores, top in answers_with_top:
            questions += 1
            answerable += bool(scores)
            best += max(scores.values(), default=0.0)
            if top is not None and lookup(top) is not None:
                top_known += 1
            elif top is not None:
                unknown[top] += 1
        return AnswerCoverage(
            questions,
            answerable,
            top_known,
            best / max(questions, 1),
            tuple(unknown.most_common(_MAX_UNKNOWN_SHOWN)),
        )

    @classmethod
    def build(
        cls, examples: Iterable[VqaExample], *, min_count: int = DEFAULT_MIN_COUNT
    ) -> "AnswerVocabulary":
        """Collect the answers that are the most frequent answer of at least `min_count` questions.

        Each question's `multiple_choice_answer` is normalised and loses its commas, as in the public code.

        Raises:
            VocabularyError: No answer reaches `min_count`.
        """
        tops = [example.multiple_choice_answer for example in examples]
        normalised = [_normalise_for_vocabulary(top) for top in tops if top is not None]
        if tops and not normalised:
            raise VocabularyError(
                "no question has a multiple_choice_answer, from which answers are collected"
            )
        return cls.from_answers(normalised, min_count=min_count)

    @classmethod
    def from_answers(cls, answers: Iterable[str], *, min_count: int = 1) -> "AnswerVocabulary":
        """Collect the answers, one per question, that occur at least `min_count` times, as they are spelled.

        As for GQA: `AnswerVocabulary.from_answers(q.answer for q in read_gqa(path) if q.answer)`.

        Raises:
            VocabularyError: No answer occurs that often.
        """
        counts = Counter(answers)
        if not counts:
            raise VocabularyError("no question has an answer, so no list of answers can be built")
        frequent = sorted((-count, answer) for answer, count in counts.items() if count >= min_count)
        if not frequent:
            raise VocabularyError(
                f"no answer is the best answer to {min_count} or more questions; lower the minimum "
                "(min_count, in a recipe data.answers.min_count)"
            )
        return cls(answer for _, answer in frequent)

    @classmethod
    def load(cls, path: str | Path) -> "AnswerVocabulary":
        """Load a JSON table in any of the published forms.

        A list of answers; a list of `{"ans": answer, ...}` records; or a dict from answer to class id.

        Raises:
            DataError: The file is missing or not JSON.
            VocabularyError: The file has none of these forms, or class ids are not 0, 1, 2, ....
        """
        table = read_json(path)
        try:
            return cls(_answers_in_order(table))
        except VocabularyError as error:
            raise VocabularyError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the answers as a JSON list in class order, one answer a line.

        Raises:
            DataError: The file cannot be written.
        """
        try:
            write_answers(path, self._answers)
        except OSError as error:
            raise DataError(f"{path}: the answer vocabulary cannot be written ({error})") from error


def _normalise_for_vocabulary(answer: str) -> str:
    return normalise_answer(answer).replace(",", "")


def _answers_in_order(table: Any) -> list[Any]:
    if isinstance(table, list):
        # A record without "ans" gives None, which the vocabulary refuses by name.
        return [entry.get("ans") if isinstance(entry, dict) else entry for entry in table]
    if isinstance(table, dict):
        _check_class_ids(table)
        by_label = {label: answer for answer, label in table.items()}
        if sorted(by_label, key=str) != sorted(range(len(table)), key=str):
            raise VocabularyError(f"the class ids of the {len(table)} answers are not 0 to {len(table) - 1}")
        return [by_label[label] for label in range(len(table))]
    raise VocabularyError(
        f"expected a list of answers or a dict from answers to class ids, got a {type(table).__name__}"
    )


def _check_class_ids(table: Mapping[str, Any]) -> None:
    wrong = next((answer for answer, label in table.items() if not is_int_in_range(label, 0)), None)
    if wrong is None:
        return
    value = table[wrong]
    looks_annotated = isinstance(value, dict) or (
        isinstance(value, list) and all(isinstance(item, dict) for item in value)
    )
    raise VocabularyError(
        f"the value of {short_repr(wrong)} is {describe(value)}; expected a list of answers or a dict "
        "from answers to class ids"
        + (", and this looks like an annotation file" if looks_annotated else ", which are whole numbers")
    )

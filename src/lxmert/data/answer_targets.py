"""The scored answers of many questions in three arrays, and the choice of which one a model learns.

Source: the released pre-training code (specification section 2.7): each epoch, one of several answers is
drawn with a probability proportional to its score, and learned as the correct one.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import numpy as np

from lxmert.data.answer_table import normalise_table_answer
from lxmert.data.answers import AnswerVocabulary
from lxmert.data.labels import merge_answers
from lxmert.data.masking import RandomStream, random_generator
from lxmert.data.task_examples import IGNORED_LABEL


def answer_lookup(vocabulary: Iterable[str]) -> Callable[[str], int | None]:
    """A function from an answer, as spelled or in the published table's spelling, to its class id or None.

    Args:
        vocabulary: The answers in class order.
    """
    labels = {answer: label for label, answer in enumerate(vocabulary)}

    @cache
    def find(answer: str) -> int | None:
        label = labels.get(answer)
        return labels.get(normalise_table_answer(answer)) if label is None else label

    return find


class AnswerTargets:
    """Sparse scores of the answers of each sentence.

    Args:
        labels: The answers and scores of each sentence, None for those that are not questions.
        vocabulary: The answers in class order; None for none. An answer is looked up as spelled, else in
            the published table's spelling; scores of spellings of one answer add up, to at most 1.
    """

    def __init__(
        self, labels: Iterable[Mapping[str, float] | None], vocabulary: AnswerVocabulary | None
    ) -> None:
        class_id = answer_lookup(vocabulary or ())
        ids: list[int] = []
        scores: list[float] = []
        counts = [0]
        for label in labels:
            if not label:  # Most sentences are not questions.
                counts.append(0)
                continue
            # A score of 0 is no answer.
            given = {answer: score for answer, score in label.items() if score > 0}
            known_scores = merge_answers(given, class_id)
            ids += known_scores
            scores += known_scores.values()
            counts.append(len(known_scores))
        self._ids = np.array(ids, np.int32)
        self._scores = np.array(scores, np.float32)
        self._starts = np.array(counts).cumsum()

    @property
    def answered_count(self) -> int:
        """Number of sentences with an answer of the vocabulary."""
        return int((np.diff(self._starts) > 0).sum())

    def scores(self, index: int) -> dict[int, float]:
        """Scores by class id of one sentence's answers; empty if none is known."""
        part = slice(self._starts[index], self._starts[index + 1])
        return dict(zip(self._ids[part].tolist(), self._scores[part].tolist(), strict=True))

    def draw(self, index: int, seed: int, draw: int) -> int:
        """Draw the class id to learn, with a probability proportional to its score; -100 if there is none."""
        start, end = int(self._starts[index]), int(self._starts[index + 1])
        if end - start == 0:
            return IGNORED_LABEL
        if end - start == 1:
            return int(self._ids[start])
        cumulative = self._scores[start:end].cumsum(dtype=np.float64)
        target = random_generator(seed, draw, RandomStream.ANSWER).random() * cumulative[-1]
        return int(self._ids[start + int(np.searchsorted(cumulative, target, side="right"))])

"""Faithfulness of explanations: how fast accuracy falls as words or objects are removed by weight.

The perturbation test of Chefer, Gur & Wolf 2021 (arXiv 2103.15679, section 4): accuracy should fall quickly
if the greatest weights are removed first, and slowly if the least are. Words and objects are tested apart.

Shapes: G words, N objects, S shares, C answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from lxmert.errors import InputError
from lxmert.explain.case import Case
from lxmert.explain.methods import Method
from lxmert.inference.predictor import LxmertPredictor
from lxmert.vision.regions import Regions

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Shares that are removed, as in the paper's code."""

Part = Literal["words", "objects"]


@dataclass(frozen=True)
class AnnotatedQuestion:
    """A question about an image, with its right answer."""

    regions: Regions
    text: str
    answer: str


@dataclass(frozen=True)
class Faithfulness:
    """Accuracy as more is removed.

    Attributes:
        shares: S shares of the words or objects, 0..1, rising; at least two.
        most_first: accuracy in 0..1 at each share, the greatest weights removed first; lower is better.
        least_first: likewise with the least weights removed first; higher is better.
    """

    shares: tuple[float, ...]
    most_first: tuple[float, ...]
    least_first: tuple[float, ...]

    @property
    def most_first_area(self) -> float:
        """Area below `most_first` (trapezoids): 0 to the last share less the first, which is 1 by default."""
        return _area(self.most_first, self.shares)

    @property
    def least_first_area(self) -> float:
        """Area below `least_first`, likewise."""
        return _area(self.least_first, self.shares)


def _area(accuracies: Sequence[float], shares: Sequence[float]) -> float:
    return float(torch.trapezoid(torch.tensor(accuracies), torch.tensor(shares)))


def faithfulness(
    predictor: LxmertPredictor,
    questions: Iterable[AnnotatedQuestion],
    method: Method,
    part: Part,
    shares: Sequence[float] = SHARES,
) -> Faithfulness:
    """Measure a method on questions whose answers are known.

    The answer that is explained is the model's own, right or wrong.

    Args:
        predictor: the model, with its processor.
        questions: at least one; those whose right answer the model does not know count as wrong.
        method: one of `METHODS`' values, or any function of a `Case`.
        part: what to remove.
        shares: at least two shares of it to remove, rising, in 0..1, each rounded to a whole number of items.
            The areas are those between the first and the last.

    Raises:
        InputError: no question, no such part, shares that are too few or do not rise within 0..1, or a
            method that is not a function.
    """
    if part not in get_args(Part):
        raise InputError(f"part is {part!r}, expected {', '.join(get_args(Part))}")
    if not callable(method):
        raise InputError(f"method is {method!r}, expected a function, such as METHODS['relevance']")
    _check_shares(shares)
    answers = predictor.processor.require_answers()
    labels = {answer: label for label, answer in enumerate(answers)}
    right = [
        torch.stack([order.argmax(dim=-1) == labels.get(question.answer, -1) for order in orders])
        for question in questions
        for orders in [
            _probabilities_in_both_orders(
                Case(predictor, question.regions, question.text), method, part, shares
            )
        ]
    ]
    if not right:
        raise InputError("there is no question to measure; pass at least one")
    most_first, least_first = torch.stack(right).double().mean(dim=0).tolist()  # (2, S)
    return Faithfulness(tuple(shares), tuple(most_first), tuple(least_first))


def _check_shares(shares: Sequence[float]) -> None:
    rises = all(first < second for first, second in pairwise(shares))
    if len(shares) < 2 or not rises or not all(0 <= share <= 1 for share in shares):
        raise InputError(
            f"shares are {tuple(shares)}, expected two or more in 0..1, each greater than the one before"
        )


def _probabilities_in_both_orders(
    case: Case, method: Method, part: Part, shares: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return probabilities (S, C) with the greatest weights removed first, and with the least first."""
    result = method(case)
    weights = result.words if part == "words" else result.objects
    most_first = weights.sort(descending=True, stable=True).indices
    return (
        case.probabilities_without(*_removal_masks(case, most_first, part, shares)),
        case.probabilities_without(*_removal_masks(case, most_first.flip(0), part, shares)),
    )


def _removal_masks(case: Case, order: Tensor, part: Part, shares: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return which words (S, G) and objects (S, N) are removed at each share."""
    words = torch.zeros(len(shares), len(case.words), dtype=torch.bool)
    objects = torch.zeros(len(shares), case.objects, dtype=torch.bool)
    removed = words if part == "words" else objects
    for row, share in enumerate(shares):
        removed[row, order[: round(share * len(order))]] = True
    return words, objects

"""Sums and means with the official evaluators' own floating point result."""

import operator
from collections.abc import Collection, Iterable
from functools import reduce


def plain_sum(numbers: Iterable[float]) -> float:
    """Add from left to right: from Python 3.12 on the built-in `sum` compensates, which changes last bits."""
    return reduce(operator.add, numbers, 0.0)


def mean_percent(values: Collection[float]) -> float:
    """The mean of values 0..1 in percent; 0 of nothing, as the GQA evaluator has it."""
    return plain_sum(values) / len(values) * 100 if values else 0.0

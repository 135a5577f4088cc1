"""Sums and means with the same floating point results as the official evaluators."""

import operator
from collections.abc import Collection, Iterable
from functools import reduce


def plain_sum(numbers: Iterable[float]) -> float:
    """Add from left to right; since Python 3.12 the built-in `sum` compensates, which changes last bits."""
    return reduce(operator.add, numbers, 0.0)


def mean_percent(values: Collection[float]) -> float:
    """The mean of values 0..1 in percent; 0 without values, as in the GQA evaluator."""
    return plain_sum(values) / len(values) * 100 if values else 0.0

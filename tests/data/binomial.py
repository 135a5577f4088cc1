"""Exact binomial bounds on counts of random events."""

import torch


def binomial_bounds(trials: int, probability: float, tail_probability: float = 1e-9) -> tuple[int, int]:
    """The fewest and most successes that leave less than `tail_probability` on either side."""
    if probability in (0.0, 1.0):
        return round(trials * probability), round(trials * probability)
    counts = torch.arange(trials + 1, dtype=torch.float64)
    n, p = torch.tensor(float(trials), dtype=torch.float64), torch.tensor(probability, dtype=torch.float64)
    logs = (
        torch.lgamma(n + 1)
        - torch.lgamma(counts + 1)
        - torch.lgamma(n - counts + 1)
        + counts * p.log()
        + (n - counts) * (1 - p).log()
    )
    below = logs.exp().cumsum(0)
    lowest = int((below < tail_probability).sum())
    highest = trials - int((logs.flip(0).exp().cumsum(0) < tail_probability).sum())
    return lowest, highest


def assert_binomial_count(successes: int, trials: int, probability: float) -> None:
    lowest, highest = binomial_bounds(trials, probability)
    assert lowest <= successes <= highest, f"{successes} of {trials}, expected {lowest} to {highest}"

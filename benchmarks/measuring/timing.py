"""Timing the sides of a comparison in turns, so that other load on the machine affects all equally."""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Side = Callable[[], object]


def log(text: str) -> None:
    """Print a line of progress to standard error, since standard output is for results."""
    print(text, file=sys.stderr, flush=True)


def seconds_of(side: Side, device: str = "cpu") -> float:
    """Return the seconds of one call, including the work it started on a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    side()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def keep_working_sides(
    sides: Mapping[str, Callable[..., object]], notes: list[str], *inputs: object
) -> dict[str, Any]:
    """Return the sides that run; each is called once with `inputs`, which also compiles it if applicable.

    A side that fails, for example because the machine lacks support for it, is omitted with a note in
    `notes`; but the peer's sides must run.
    """
    found = {}
    for name, side in sides.items():
        start = time.perf_counter()
        try:
            side(*inputs)
        except Exception as error:
            if not name.startswith("ours"):
                raise
            notes.append(f"{name}: not measured, {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        log(f"first call: {name}, {time.perf_counter() - start:.2f} s")
        found[name] = side
    return found


def time_alternating(
    sides: Mapping[str, Side], rounds: int, *, warmups: int = 1, device: str = "cpu", every: int = 1
) -> dict[str, list[float]]:
    """Measure the seconds of each side in each round.

    Each side first runs `warmups` times without measurement. Each round begins with another side, because the
    side before affects the processor's temperature and the caches.

    Args:
        sides: the calls to time, by name.
        rounds: measured calls of each side.
        warmups: unmeasured calls of each side beforehand.
        device: "cuda" waits for the GPU.
        every: rounds between lines of progress.
    """
    for name, side in sides.items():
        for _ in range(warmups):
            took = seconds_of(side, device)
        log(f"warmed up: {name}" + (f", {took:.3f} s" if warmups else ""))
    gc.collect()
    gc.freeze()  # Objects left by compilers are many, and would be traversed before each timing.
    names = list(sides)
    timings: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            timings[name].append(seconds_of(sides[name], device))
        if (number + 1) % every == 0 or number + 1 == rounds:
            last = "; ".join(f"{name} {seconds[-1]:.3f} s" for name, seconds in timings.items())
            log(f"round {number + 1} of {rounds}: {last}")
    return timings


def ratios(slower: list[float], faster: list[float]) -> tuple[float, float, float]:
    """Return the speed-up of one side: of the medians, in the worst and in the best round."""
    by_round = [a / b for a, b in zip(slower, faster, strict=True)]
    return statistics.median(slower) / statistics.median(faster), min(by_round), max(by_round)

"""Timing several sides of a comparison in turns, so that whatever else the machine does slows all alike."""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Side = Callable[[], object]


def say(text: str) -> None:
    """A line of progress, on standard error: standard output is for results."""
    print(text, file=sys.stderr, flush=True)


def seconds_of(side: Side, device: str = "cpu") -> float:
    """The seconds of one call, with all that it started on a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    side()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def usable(sides: Mapping[str, Callable[..., object]], notes: list[str], *inputs: object) -> dict[str, Any]:
    """The sides that run, each called once with `inputs`, which also compiles what is to be compiled.

    A setting that a machine lacks must not cost the other figures: what fails is told in `notes`. The peer's
    sides must run.
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
        say(f"first call: {name}, {time.perf_counter() - start:.2f} s")
        found[name] = side
    return found


def in_turns(
    sides: Mapping[str, Side], rounds: int, *, warmups: int = 1, device: str = "cpu", every: int = 1
) -> dict[str, list[float]]:
    """The seconds of each side in each round.

    Each side runs `warmups` times unmeasured first. Every round begins with another side, because the one
    after a long one finds the processor warmer and the caches fuller.

    Args:
        sides: name to what is timed.
        rounds: measured calls of each.
        warmups: calls of each beforehand.
        device: "cuda" waits for the GPU.
        every: rounds between two lines of progress.
    """
    for name, side in sides.items():
        for _ in range(warmups):
            took = seconds_of(side, device)
        say(f"warmed up: {name}" + (f", {took:.3f} s" if warmups else ""))
    gc.collect()
    gc.freeze()  # What compilers left behind is large, and would be gone through before each timing.
    names = list(sides)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            taken[name].append(seconds_of(sides[name], device))
        if (number + 1) % every == 0 or number + 1 == rounds:
            last = "; ".join(f"{name} {seconds[-1]:.3f} s" for name, seconds in taken.items())
            say(f"round {number + 1} of {rounds}: {last}")
    return taken


def ratios(slower: list[float], faster: list[float]) -> tuple[float, float, float]:
    """How many times as fast one side is: in the medians, in the worst and in the best round."""
    by_round = [a / b for a, b in zip(slower, faster, strict=True)]
    return statistics.median(slower) / statistics.median(faster), min(by_round), max(by_round)

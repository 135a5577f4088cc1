"""How long work in the data package tells how far it is, without knowing who shows it."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Thing = TypeVar("_Thing")

_THINGS_PER_MOVE = 10_000

# Called with how much was done since the last call.
Advance = Callable[[int], None]

# Starts a progress bar: a description and the total; returns what to call with each amount done.
StartProgress = Callable[[str, int], Advance]


def no_progress(description: str, total: int) -> Advance:
    """A `StartProgress` that shows nothing."""
    return lambda done: None


def in_sight(things: Sequence[_Thing], description: str, progress: StartProgress) -> Iterator[_Thing]:
    """One thing of many after another, under a bar; it moves now and then, for each move takes a while."""
    advance = progress(description, len(things))
    for start in range(0, len(things), _THINGS_PER_MOVE):
        part = things[start : start + _THINGS_PER_MOVE]
        yield from part
        advance(len(part))

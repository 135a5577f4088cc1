"""Progress of long operations, reported without knowing how it is shown."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Thing = TypeVar("_Thing")

_THINGS_PER_MOVE = 10_000

# Called with the amount done since the last call.
Advance = Callable[[int], None]

# Starts a progress bar from a description and the total; returns a function to call with each amount done.
StartProgress = Callable[[str, int], Advance]


def no_progress(description: str, total: int) -> Advance:
    """A `StartProgress` that shows nothing."""
    return lambda done: None


def in_sight(things: Sequence[_Thing], description: str, progress: StartProgress) -> Iterator[_Thing]:
    """Iterate under a progress bar, which moves only now and then because each move takes time."""
    advance = progress(description, len(things))
    for start in range(0, len(things), _THINGS_PER_MOVE):
        part = things[start : start + _THINGS_PER_MOVE]
        yield from part
        advance(len(part))

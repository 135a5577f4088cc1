"""Progress of long operations, reported without knowing how it is shown."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")

_ITEMS_PER_UPDATE = 10_000

# Called with the amount done since the last call.
Advance = Callable[[int], None]

# Starts a progress bar from a description and the total; returns a function to call with each amount done.
StartProgress = Callable[[str, int], Advance]


def no_progress(description: str, total: int) -> Advance:
    """A `StartProgress` that shows nothing."""
    return lambda done: None


def iterate_with_progress(
    items: Sequence[_Item], description: str, progress: StartProgress
) -> Iterator[_Item]:
    """Iterate under a progress bar, which is updated only now and then because each update takes time."""
    advance = progress(description, len(items))
    for start in range(0, len(items), _ITEMS_PER_UPDATE):
        part = items[start : start + _ITEMS_PER_UPDATE]
        yield from part
        advance(len(part))

"""How long work in the data package tells how far it is, without knowing who shows it."""

from collections.abc import Callable

# Called with how much was done since the last call.
Advance = Callable[[int], None]

# Starts a progress bar: a description and the total; returns what to call with each amount done.
StartProgress = Callable[[str, int], Advance]


def no_progress(description: str, total: int) -> Advance:
    """A `StartProgress` that shows nothing."""
    return lambda done: None

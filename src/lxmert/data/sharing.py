"""What reading millions of annotations takes: one object for equal strings, no search for cycles.

Of millions of annotations most names, answers and ids are the same few.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keeping_all() -> Iterator[None]:
    """Within it, or in a function that it decorates, Python does not look for cycles of objects to free.

    While millions of objects are made to stay, that takes a third of the time, in pauses of seconds, and
    finds nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Shared:
    """Gives back, for each string, the equal one that came first, so that the others can be forgotten."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._tuples: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, text: str) -> str:
        """The equal string that came first."""
        return self._texts.setdefault(text, text)

    def optional(self, text: str | None) -> str | None:
        """The same, None for None."""
        return None if text is None else self._texts.setdefault(text, text)

    def texts(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """A tuple of shared strings."""
        return tuple(map(self, texts))

    def tuple(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """The tuple that came first of the equal ones; for tuples of which many are equal."""
        found = self._tuples.get(texts)
        if found is None:
            found = self._tuples[texts] = self.texts(texts)
        return found

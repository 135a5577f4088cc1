"""Reading millions of annotations efficiently: one object for equal strings, no garbage collection.

Most names, answers and ids in millions of annotations are the same few.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Suspend the cyclic garbage collector, as a context manager or a decorator.

    While millions of lasting objects are created, collection takes a third of the time, in pauses of seconds,
    and frees nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class StringInterner:
    """Interns strings: returns the first of equal strings, so that the others can be freed."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._tuples: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, text: str) -> str:
        """The first string equal to this one."""
        return self._texts.setdefault(text, text)

    def optional(self, text: str | None) -> str | None:
        """The same, None for None."""
        return None if text is None else self._texts.setdefault(text, text)

    def strings_of(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """A new tuple of interned strings."""
        return tuple(map(self, texts))

    def interned_tuple(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """The first tuple equal to this one; worthwhile where many are equal."""
        interned = self._tuples.get(texts)
        if interned is None:
            interned = self._tuples[texts] = self.strings_of(texts)
        return interned

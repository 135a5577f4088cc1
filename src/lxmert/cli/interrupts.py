"""What is said when Ctrl-C, or a scheduler's SIGTERM, ends work that can go on."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

import typer

TERMINATED_STATUS = 143
"""What shells report of a program that was ended by SIGTERM."""


def tell_interrupted(kept: str, how: str = "run the same again to go on") -> None:
    """One line on standard error.

    Args:
        kept: what is not lost, and where it is.
        how: what goes on from there.
    """
    typer.echo(f"lxmert: interrupted; {kept}: {how}", err=True)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, and the process with `TERMINATED_STATUS`.

    Whoever handles or ignores the signal already goes on doing so, and other threads may set no handler.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    has_come = False
    process = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal has_come
        if os.getpid() != process:
            os._exit(TERMINATED_STATUS)  # A forked worker inherits the handler; it just ends.
        # Schedulers and launchers both send it: a second one must not cut the last words short.
        if not has_come:
            has_come = True
            if sys.platform != "win32":
                # Processes that make batches are told to end too: torch would call that an error.
                signal.signal(signal.SIGCHLD, lambda number, frame: None)
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if has_come:
            sys.exit(TERMINATED_STATUS)

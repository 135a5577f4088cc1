"""Messages when Ctrl-C, or a scheduler's SIGTERM, ends work that can be resumed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

import typer

TERMINATED_STATUS = 143
"""Exit status that shells report for a program ended by SIGTERM."""


def report_interrupted(saved: str, how_to_resume: str = "run the same command again to continue") -> None:
    """Print one line on standard error.

    Args:
        saved: what is saved, and where.
        how_to_resume: what to do.
    """
    typer.echo(f"lxmert: interrupted; {saved}: {how_to_resume}", err=True)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end the work as Ctrl-C does, and the process with `TERMINATED_STATUS`.

    Programs that handle or ignore the signal already keep doing so, and threads cannot set a handler.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    is_terminated = False
    process = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_terminated
        if os.getpid() != process:
            os._exit(TERMINATED_STATUS)  # A forked worker inherits the handler; it just ends.
        # Schedulers and launchers both send it: a second one must not interrupt the last message.
        if not is_terminated:
            is_terminated = True
            if sys.platform != "win32":
                # Data loading processes receive it too, and torch would report their end as an error.
                signal.signal(signal.SIGCHLD, lambda number, frame: None)
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if is_terminated:
            sys.exit(TERMINATED_STATUS)

"""Worker processes that leave interrupts to their main process and never outlive it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerPool(ProcessPoolExecutor):
    """Worker processes that leave interrupts to the main process, and end as soon as that one is dead.

    They are spawned: a forked child of a process that has used torch's threads can hang.

    Args:
        workers: number of processes.
        initializer: called in each process at its start.
        initargs: its arguments.
    """

    def __init__(self, workers: int, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, context, _start_worker, (initializer, initargs))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `ProcessPoolExecutor.submit`; starts a process if there are too few."""
        with _interrupts_blocked():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Make processes started here leave interrupts to this one, even while they import their modules.

    Ctrl-C reaches every process of a terminal; the main process, which receives it afterwards, stops its
    workers itself.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _start_worker(initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_main_process, daemon=True).start()
    initializer(*initargs)


def _exit_with_main_process() -> None:
    # A killed main process cannot tell its workers to stop.
    main_process = multiprocessing.parent_process()
    if main_process is not None:
        main_process.join()
        os._exit(1)

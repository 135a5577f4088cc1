"""Worker processes that never outlive their main process."""

import multiprocessing
import os
import signal
import threading


def follow_main_process() -> None:
    """Make this worker process leave interrupts to the main process, and end as soon as that one is dead."""
    # Ctrl-C reaches every process of a terminal; the main process stops its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_main_process, daemon=True).start()


def _exit_with_main_process() -> None:
    # A killed main process cannot tell its workers to stop.
    main_process = multiprocessing.parent_process()
    if main_process is not None:
        main_process.join()
        os._exit(1)

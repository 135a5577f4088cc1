"""Worker processes: interrupts are left to the main process, and none outlives it."""

import subprocess
import sys
from pathlib import Path

import pytest

MAIN_PROCESS = """
import signal, time
from functools import partial
from lxmert.worker_processes import WorkerPool
if __name__ == "__main__":
    pool = WorkerPool(1, partial(print, flush=True), ("started",))
    print(pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN, flush=True)
    time.sleep(600)
"""

INTERRUPTED_IMPORT = """
import signal, sys, time
from lxmert.worker_processes import WorkerPool
if __name__ == "__main__":
    WorkerPool(1, print, ()).submit(print, "survived").result()
    sys.exit(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
else:  # In the worker, which imports this file before it runs the initializer.
    signal.raise_signal(signal.SIGINT)
"""


def test_workers_ignore_interrupts_and_end_with_killed_main_process() -> None:
    main = subprocess.Popen([sys.executable, "-c", MAIN_PROCESS], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    try:
        assert main.stdout.readline() == "started\n"
        assert main.stdout.readline() == "True\n"
    finally:
        main.kill()
    # Workers hold the pipe too: it is read to its end once all of them have ended.
    main.communicate(timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be blocked there")
def test_worker_ignores_interrupts_while_it_starts_and_main_process_does_not(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(INTERRUPTED_IMPORT)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\nsurvived\n", "")

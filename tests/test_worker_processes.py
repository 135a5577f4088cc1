"""Worker processes: interrupts are left to the main process, and none outlives it."""

import subprocess
import sys

MAIN_PROCESS = """
import multiprocessing, signal, time
from concurrent.futures import ProcessPoolExecutor
from lxmert.worker_processes import follow_main_process
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=follow_main_process)
    print(pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN, flush=True)
    time.sleep(600)
"""


def test_workers_ignore_interrupts_and_end_with_killed_main_process() -> None:
    main = subprocess.Popen([sys.executable, "-c", MAIN_PROCESS], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    try:
        assert main.stdout.readline() == "True\n"
    finally:
        main.kill()
    # Workers hold the pipe too: it is read to its end once all of them have ended.
    main.communicate(timeout=60)

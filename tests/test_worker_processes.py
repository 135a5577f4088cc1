"""Worker processes: interrupts are left to the main process, and none outlives it."""

import os
import subprocess
import sys
import time

MAIN_PROCESS = """
import multiprocessing, signal, time
from concurrent.futures import ProcessPoolExecutor
from lxmert.worker_processes import follow_main_process
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=follow_main_process)
    handler = pool.submit(signal.getsignal, signal.SIGINT).result()
    print(int(handler == signal.SIG_IGN), next(iter(pool._processes)), flush=True)
    time.sleep(600)
"""


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A process that has ended stays listed until its new parent has noticed.
    with open(f"/proc/{process_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_workers_ignore_interrupts_and_end_with_killed_main_process() -> None:
    main = subprocess.Popen([sys.executable, "-c", MAIN_PROCESS], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    with main.stdout:
        ignores_interrupts, worker = map(int, main.stdout.readline().split())
        assert ignores_interrupts
        assert is_alive(worker)
        main.kill()
        main.wait()
    deadline = time.monotonic() + 30
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)

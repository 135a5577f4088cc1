"""Generating images sequentially or in several processes, with the same result."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.synchronize import Event
from typing import Final

from lxmert.scenes.records import ImageRecords, image_records

_CHUNK: Final = 16
"""Images per task: enough to outweigh the cost of a task, few enough for a smooth progress bar."""


def generate(
    seed: int, images: int, questions_per_image: int, workers: int
) -> Generator[ImageRecords, None, None]:
    """Generate the records of images 0 to `images` - 1, in order."""
    workers = min(workers, -(-images // _CHUNK))
    if workers == 1:
        for index in range(images):
            yield image_records(seed, index, questions_per_image)
        return
    # "spawn": a forked child of a process that has used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    # A running task cannot be cancelled: the worker checks this event after each image.
    is_over = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(is_over,))
    waiting: deque[Future[list[ImageRecords]]] = deque()
    try:
        for start in range(0, images, _CHUNK):
            stop = min(start + _CHUNK, images)
            waiting.append(pool.submit(_chunk, seed, start, stop, questions_per_image))
            # Enough tasks in advance to keep every worker busy, and no more: finished pictures take memory.
            if len(waiting) > 3 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        is_over.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _chunk(seed: int, start: int, stop: int, questions_per_image: int) -> list[ImageRecords]:
    return [
        image_records(seed, index, questions_per_image)
        for index in range(start, stop)
        if not _worker.is_over.is_set()
    ]


class _Worker:
    """The state of a worker process."""

    is_over: Event


_worker = _Worker()


def _begin(is_over: Event) -> None:
    _worker.is_over = is_over
    # Ctrl-C reaches every process of a terminal; only the parent ends the work, without their tracebacks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

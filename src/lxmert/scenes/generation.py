"""Generating images sequentially or in several processes, with the same result."""

import multiprocessing
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from multiprocessing.synchronize import Event
from typing import Final

from lxmert.scenes.records import ImageRecords, image_records
from lxmert.worker_processes import WorkerPool

_CHUNK_SIZE: Final = 16
"""Images per task: enough to outweigh the cost of a task, few enough for a smooth progress bar."""


def generate(
    seed: int, images: int, questions_per_image: int, workers: int
) -> Generator[ImageRecords, None, None]:
    """Generate the records of images 0 to `images` - 1, in order."""
    workers = min(workers, -(-images // _CHUNK_SIZE))
    if workers == 1:
        for index in range(images):
            yield image_records(seed, index, questions_per_image)
        return
    # A running task cannot be cancelled: the worker checks this event after each image.
    should_stop = multiprocessing.get_context("spawn").Event()
    pool = WorkerPool(workers, _initialise_worker, (should_stop,))
    pending: deque[Future[list[ImageRecords]]] = deque()
    try:
        for start in range(0, images, _CHUNK_SIZE):
            stop = min(start + _CHUNK_SIZE, images)
            pending.append(pool.submit(_generate_chunk, seed, start, stop, questions_per_image))
            # Enough tasks in advance to keep every worker busy, and no more: finished pictures take memory.
            if len(pending) > 3 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        should_stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _generate_chunk(seed: int, start: int, stop: int, questions_per_image: int) -> list[ImageRecords]:
    return [
        image_records(seed, index, questions_per_image)
        for index in range(start, stop)
        if not _worker.should_stop.is_set()
    ]


class _Worker:
    """The state of a worker process."""

    should_stop: Event


_worker = _Worker()


def _initialise_worker(should_stop: Event) -> None:
    _worker.should_stop = should_stop

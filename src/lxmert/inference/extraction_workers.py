"""From image files to the bytes of a feature store, in this process or in a pool of processes.

An image that cannot be used becomes a `SkippedImage` with its reason and never stops the others.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from lxmert.data.box_annotations import check_annotated_size
from lxmert.data.feature_store import EncodedImage, StoreManifest, encode_image
from lxmert.data.feature_store.skipped import SkippedImage
from lxmert.errors import InputError, LxmertError
from lxmert.vision.build import build_extractor
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.images import load_image
from lxmert.worker_processes import WorkerPool

_DECODING_THREADS = 4
_BATCHES_AHEAD = 4
"""Images of this many batches may wait for others of their size."""

_JOBS_PER_TASK = 4
_TASKS_PER_WORKER = 3


class ImageJob(NamedTuple):
    """An image to extract regions from, with boxes (N, 4) float32 in its pixels if the caller knows them.

    `annotated_hw` is the height and width of the image that the boxes were annotated on, if known.
    """

    name: str
    path: Path
    # Not a tensor: each would take a file descriptor on its way to another process.
    boxes_xyxy_px: np.ndarray | None = None
    annotated_hw: tuple[int, int] | None = None


@dataclass(frozen=True)
class UnexpectedSkip(SkippedImage):
    """Skipped because of an error that is not known to be the image's fault."""


Outcome = EncodedImage | SkippedImage


@dataclass(frozen=True)
class BatchExtractor:
    """Turns images into the bytes of a store.

    Attributes:
        extractor: makes the regions.
        manifest: the store's.
    """

    extractor: RegionExtractor
    manifest: StoreManifest

    def extract(self, jobs: Sequence[ImageJob], images: Sequence[Image.Image]) -> list[Outcome]:
        """Extract from a batch; if that fails, from each image alone, to find the culprit."""
        boxes = [torch.from_numpy(job.boxes_xyxy_px) for job in jobs if job.boxes_xyxy_px is not None]
        try:
            extracted = self.extractor(images, boxes or None)
            return [
                encode_image(job.name, regions, self.manifest)
                for job, regions in zip(jobs, extracted, strict=True)
            ]
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # One picture in a hundred thousand must not stop all the others.
            if len(jobs) > 1:
                pairs = zip(jobs, images, strict=True)
                return [outcome for job, image in pairs for outcome in self.extract([job], [image])]
            if isinstance(error, InputError):
                return [SkippedImage(jobs[0].name, str(jobs[0].path), str(error))]
            reason = f"unexpected {type(error).__name__}: {error}"
            return [UnexpectedSkip(jobs[0].name, str(jobs[0].path), reason)]


def load(job: ImageJob) -> Image.Image | SkippedImage:
    """Decode an image file, and check that it has the size that its boxes were annotated on."""
    try:
        image = load_image(job.path)
        if job.annotated_hw is not None:
            check_annotated_size(job.path, (image.height, image.width), job.annotated_hw)
        return image
    except (InputError, OSError, ValueError) as error:
        return SkippedImage(job.name, str(job.path), str(error))


def extract_in_process(
    batch_extractor: BatchExtractor, jobs: Iterable[ImageJob], batch_size: int
) -> Iterator[Outcome]:
    """Extract regions in this process: threads decode ahead, images of equal size are batched.

    The order of outcomes depends only on the jobs and the batch size.
    """
    by_size: dict[tuple[int, int], list[tuple[ImageJob, Image.Image]]] = {}
    for job, loaded in _decode_ahead(jobs, batch_size):
        if isinstance(loaded, SkippedImage):
            yield loaded
            continue
        by_size.setdefault(loaded.size, []).append((job, loaded))
        fullest = max(by_size, key=lambda size: len(by_size[size]))
        buffered = sum(map(len, by_size.values()))
        if len(by_size[fullest]) == batch_size or buffered >= _BATCHES_AHEAD * batch_size:
            yield from batch_extractor.extract(*zip(*by_size.pop(fullest), strict=True))
    for batch in by_size.values():
        yield from batch_extractor.extract(*zip(*batch, strict=True))


def _decode_ahead(
    jobs: Iterable[ImageJob], batch_size: int
) -> Iterator[tuple[ImageJob, Image.Image | SkippedImage]]:
    queue_size = max(batch_size, _DECODING_THREADS)
    pending: deque[tuple[ImageJob, Future[Image.Image | SkippedImage]]] = deque()
    with ThreadPoolExecutor(_DECODING_THREADS) as threads:
        for job in jobs:
            pending.append((job, threads.submit(load, job)))
            if len(pending) > queue_size:
                decoded_job, future = pending.popleft()
                yield decoded_job, future.result()
        while pending:
            decoded_job, future = pending.popleft()
            yield decoded_job, future.result()


def extract_in_pool(
    spec: Mapping[str, Any], manifest: StoreManifest, jobs: Sequence[ImageJob], workers: int
) -> Iterator[Outcome]:
    """Extract regions in `workers` processes of one torch thread each, outcomes in the order of the jobs.

    Small networks gain more from processes than from torch's threads.

    Args:
        spec: what each process builds its extractor from.
        manifest: the store's.
        jobs: the images.
        workers: number of processes.

    Raises:
        LxmertError: a process died, most often for lack of memory.
    """
    pool = WorkerPool(workers, _load_extractor, (dict(spec), manifest))
    pending: deque[Future[list[Outcome]]] = deque()
    try:
        for start in range(0, len(jobs), _JOBS_PER_TASK):
            pending.append(pool.submit(_extract_in_worker, jobs[start : start + _JOBS_PER_TASK]))
            if len(pending) >= workers * _TASKS_PER_WORKER:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        raise LxmertError(
            "a worker process died, perhaps for lack of memory; finished images are kept: run the same "
            "command again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker_extractors: list[BatchExtractor] = []
"""The batch extractor of a worker process, made once at its start; empty in every other process."""


def _load_extractor(spec: Mapping[str, Any], manifest: StoreManifest) -> None:
    torch.set_num_threads(1)
    _worker_extractors.append(BatchExtractor(build_extractor(spec), manifest))


def _extract_in_worker(jobs: Sequence[ImageJob]) -> list[Outcome]:
    (batch_extractor,) = _worker_extractors
    return list(extract_in_process(batch_extractor, jobs, batch_size=1))

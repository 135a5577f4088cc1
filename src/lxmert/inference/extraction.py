"""Bulk extraction of the regions of image files into a feature store, resumable after any interruption."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.feature_store.fingerprint_cache import FingerprintCache
from lxmert.data.feature_store.layout import name_from_bytes
from lxmert.data.feature_store.skipped import SkippedImage, SkippedList
from lxmert.data.feature_store.writer import discard_store
from lxmert.errors import ConfigurationError, DataError, LxmertError
from lxmert.inference.box_lookup import BoxLookup
from lxmert.inference.extraction_workers import (
    BatchExtractor,
    ImageJob,
    Outcome,
    UnexpectedSkip,
    extract_in_pool,
    extract_in_process,
)
from lxmert.inference.image_list import NamedImage
from lxmert.inference.ranks import Ranks
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.geometry import clip

_MAX_INITIAL_FAILURES = 3
"""If this many images fail for unknown reasons before any succeeds, the images are not to blame."""

_READING_THREADS = 4

_FILE_CONFLICT = (
    "another picture of this name, or an older version of this picture, is in the store; rename it or "
    "create a new store"
)
_BOX_CONFLICT = "this picture is in the store with other boxes than {} has; create a new store for them"

StartResumableProgress = Callable[[int, int], Callable[[int], None]]
"""Called with the number of images and of those done already; returns a function to call for each step."""


@dataclass(frozen=True)
class ExtractionReport:
    """The result of a run, for this rank's share.

    Attributes:
        added: number of images added to the store.
        already_stored: number of images that were in it before.
        skipped: images that could not be used.
    """

    added: int
    already_stored: int
    skipped: Sequence[SkippedImage]


@dataclass(frozen=True)
class ExtractionOptions:
    """Settings of an extraction.

    Attributes:
        dtype: of the stored features, "float32" or "float16"; None for that of an existing store, else
            "float32".
        batch_size: images passed to the extractor at once.
        workers: number of processes, of one torch thread each; 1 works in this process with all its threads.
        boxes: the boxes of each image; None lets the extractor find the objects.
        ranks: this process among several.
    """

    dtype: str | None = None
    batch_size: int = 1
    workers: int = 1
    boxes: BoxLookup | None = None
    ranks: Ranks = field(default_factory=Ranks)


def extract_images(
    images: Sequence[NamedImage],
    store: Path,
    extractor: RegionExtractor,
    options: ExtractionOptions | None = None,
    progress: StartResumableProgress = lambda total, done: lambda step: None,
) -> ExtractionReport:
    """Append the regions of images to a store, except for images that it already has.

    An interrupted run is continued by running it again. An image whose name the store has for a file of
    other content, or with other given boxes, is skipped. A single rank leaves no store behind if no image
    could be added.

    Args:
        images: the images; with several ranks the same list for each.
        store: folder of the store, new or existing.
        extractor: makes the regions.
        options: see `ExtractionOptions`.
        progress: shows the progress.

    Raises:
        ConfigurationError: boxes are needed and not given, or given and not accepted; or several workers for
            an extractor without a spec.
        DataError: the folder is not a store, or one of another extractor, or one of found boxes where these
            are given, or the reverse.
        LxmertError: the extractor fails for every image, or a worker process died.
    """
    options = options or ExtractionOptions()
    _check_boxes(extractor, options.boxes)
    manifest = build_manifest(
        extractor, options.dtype or _stored_dtype(store) or "float32", has_boxes=options.boxes is not None
    )
    ranks = options.ranks
    with FeatureStoreWriter(store, manifest, rank=ranks.rank) as writer:
        try:
            with FingerprintCache(store, ranks.rank) as fingerprints:
                named = _with_stored_names(images, writer, fingerprints)
                return _extract(ranks.shard(named), writer, fingerprints, extractor, options, progress)
        finally:
            if ranks.world_size == 1:  # Other ranks may be about to write.
                writer.discard_if_empty()


def discard_if_empty(store: Path) -> None:
    """Remove a store without images, once all processes that write to it have finished their share."""
    if not len(FeatureStore(store)):
        discard_store(store)


def _extract(
    images: Sequence[NamedImage],
    writer: FeatureStoreWriter,
    fingerprints: FingerprintCache,
    extractor: RegionExtractor,
    options: ExtractionOptions,
    progress: StartResumableProgress,
) -> ExtractionReport:
    """Run `extract_images` for this rank's share, into an open store."""
    skipped = SkippedList(writer.path, options.ranks.rank, options.ranks.world_size)
    missing = [image for image in images if image.name not in writer]
    paths = {image.name: image.path for image in missing}
    stored_by_name = len(images) - len(missing)
    advance = progress(len(images), stored_by_name)
    for conflict in _conflicts(images, writer, fingerprints, options.boxes):
        skipped.add(conflict)
    already_stored, added = stored_by_name - len(skipped.items), 0
    for outcome in _extract_outcomes(missing, extractor, writer.manifest, options):
        if isinstance(outcome, SkippedImage):
            skipped.add(outcome)
            _raise_if_all_failed(skipped.items, already_stored + added)
        else:
            fingerprint = fingerprints.fingerprint(paths[name_from_bytes(outcome.name)])
            writer.append(outcome._replace(fingerprint=fingerprint))
            added += 1
        advance(1)
    _raise_if_all_failed(skipped.items, already_stored + added, is_over=True)
    return ExtractionReport(added, already_stored, skipped.items)


def build_manifest(extractor: RegionExtractor, dtype: str, *, has_boxes: bool = False) -> StoreManifest:
    """Make the manifest of a store of this extractor's features, for boxes that it finds or is given."""
    return StoreManifest(
        feature_dim=extractor.feature_dim,
        feature_dtype=dtype,
        extractor=extractor.identity,
        description=_extractor_spec(extractor),
        object_names=getattr(extractor, "object_names", None),
        attribute_names=getattr(extractor, "attribute_names", None),
        boxes="given" if has_boxes or extractor.needs_boxes else "found",
    )


def _with_stored_names(
    images: Sequence[NamedImage], writer: FeatureStoreWriter, fingerprints: FingerprintCache
) -> list[NamedImage]:
    """Keep the short name of an image that was stored before another image of this name was added."""
    taken = {image.name for image in images}
    named = []
    for image in images:
        short_name = image.short_name
        if short_name is not None and short_name not in taken and image.name not in writer:
            stored = writer.fingerprint(short_name)
            if stored and fingerprints.fingerprint(image.path, stored) == stored:
                taken.add(short_name)
                image = NamedImage(short_name, image.path)
        named.append(image)
    return named


def _check_boxes(extractor: RegionExtractor, boxes: BoxLookup | None) -> None:
    if extractor.needs_boxes and boxes is None:
        raise ConfigurationError(
            f"{extractor.identity} does not find objects by itself; provide their boxes (--boxes "
            "instances.json)"
        )
    if boxes is not None and not getattr(extractor, "takes_boxes", True):
        raise ConfigurationError(f"{extractor.identity} places its own boxes; omit the given ones (--boxes)")


def _conflicts(
    images: Sequence[NamedImage],
    writer: FeatureStoreWriter,
    fingerprints: FingerprintCache,
    boxes: BoxLookup | None,
) -> Iterable[SkippedImage]:
    """Return the images that the store has for another file or with other boxes than now, each once."""
    box_conflicts = () if boxes is None else _box_conflicts(images, writer, boxes)
    conflicts = (*box_conflicts, *_file_conflicts(images, writer, fingerprints))
    return {conflict.name: conflict for conflict in conflicts}.values()


def _box_conflicts(
    images: Sequence[NamedImage], writer: FeatureStoreWriter, boxes: BoxLookup
) -> Iterator[SkippedImage]:
    """Yield the images that the store has with other given boxes than the file."""
    if writer.manifest.boxes != "given":
        return
    for image in images:
        position = writer.existing.find(image.name)
        if position is None or (annotated := boxes.find(image)) is None:
            continue
        stored = writer.existing.arrays_at(position)
        clipped = clip(torch.from_numpy(annotated.boxes_xyxy_px), stored.size_hw).numpy()
        if not np.array_equal(clipped, stored.boxes_xyxy_px):
            yield SkippedImage(image.name, str(image.path), _BOX_CONFLICT.format(boxes.path))


def _file_conflicts(
    images: Sequence[NamedImage], writer: FeatureStoreWriter, fingerprints: FingerprintCache
) -> Iterator[SkippedImage]:
    """Yield the images whose name the store has for a file of another fingerprint."""
    known = [(image, before) for image in images if (before := writer.fingerprint(image.name))]
    with ThreadPoolExecutor(_READING_THREADS) as threads:
        current = threads.map(lambda pair: fingerprints.fingerprint(pair[0].path, pair[1]), known)
        for (image, before), now in zip(known, current, strict=True):
            if now not in (before, 0):
                yield SkippedImage(image.name, str(image.path), _FILE_CONFLICT)


def _extract_outcomes(
    images: Sequence[NamedImage],
    extractor: RegionExtractor,
    manifest: StoreManifest,
    options: ExtractionOptions,
) -> Iterator[Outcome]:
    jobs: list[ImageJob] = []
    for image in images:
        if options.boxes is None:
            jobs.append(ImageJob(image.name, image.path))
        elif (annotated := options.boxes.find(image)) is None:
            yield SkippedImage(
                image.name, str(image.path), f"{options.boxes.path} has no such image, and so no boxes"
            )
        else:
            jobs.append(ImageJob(image.name, image.path, annotated.boxes_xyxy_px, annotated.size_hw))
    if options.workers == 1 or not jobs:
        yield from extract_in_process(BatchExtractor(extractor, manifest), jobs, options.batch_size)
        return
    spec = _extractor_spec(extractor)
    if spec is None:
        raise ConfigurationError(
            f"{extractor.identity} was created in memory and can only be used with one worker"
        )
    yield from extract_in_pool(spec, manifest, jobs, min(options.workers, len(jobs)))


def _extractor_spec(extractor: RegionExtractor) -> Mapping[str, Any] | None:
    try:
        return extractor.to_dict()
    except ConfigurationError:  # Its model was made in memory and has no name.
        return None


def _stored_dtype(store: Path) -> str | None:
    try:
        return StoreManifest.read(store).feature_dtype
    except DataError:  # A new store, or not a store; opening it for writing reports that.
        return None


def _raise_if_all_failed(skipped: Sequence[SkippedImage], succeeded: int, *, is_over: bool = False) -> None:
    unexpected = [item for item in skipped if isinstance(item, UnexpectedSkip)]
    limit = 1 if is_over else _MAX_INITIAL_FAILURES
    if succeeded == 0 and len(unexpected) >= limit:
        raise LxmertError(f"no image could be processed; the first error was: {unexpected[0]}")

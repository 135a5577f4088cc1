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
from lxmert.inference.boxes_of_images import BoxesOfImages
from lxmert.inference.image_list import NamedImage
from lxmert.inference.looking_at_files import (
    ImageJob,
    Looker,
    Outcome,
    Unforeseen,
    look_here,
    look_in_pool,
)
from lxmert.inference.ranks import Ranks
from lxmert.vision.extractor import RegionExtractor
from lxmert.vision.geometry import clip

_UNFORESEEN_BEFORE_ANY_SUCCESS = 3
"""If this many images fail for unknown reasons before any succeeds, the images are not to blame."""

_READING_THREADS = 4

_OTHER_PICTURE = (
    "another picture of this name, or an older version of this picture, is in the store; rename it or "
    "create a new store"
)
_OTHER_BOXES = "this picture is in the store with other boxes than {} has; create a new store for them"

StartProgress = Callable[[int, int], Callable[[int], None]]
"""Called with the number of images and of those done already; returns a function to call for each step."""


@dataclass(frozen=True)
class ExtractionReport:
    """The result of a run, for this rank's share.

    Attributes:
        added: number of images added to the store.
        found: number of images that were in it before.
        skipped: images that could not be used.
    """

    added: int
    found: int
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
    boxes: BoxesOfImages | None = None
    ranks: Ranks = field(default_factory=Ranks)


def extract_images(
    images: Sequence[NamedImage],
    store: Path,
    extractor: RegionExtractor,
    options: ExtractionOptions | None = None,
    progress: StartProgress = lambda total, done: lambda step: None,
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
            an extractor without a description.
        DataError: the folder is not a store, or one of another extractor, or one of found boxes where these
            are given, or the reverse.
        LxmertError: the extractor fails for every image, or a worker process died.
    """
    options = options or ExtractionOptions()
    _check_boxes(extractor, options.boxes)
    manifest = describe_store(
        extractor, options.dtype or _dtype_of(store) or "float32", has_boxes=options.boxes is not None
    )
    ranks = options.ranks
    with FeatureStoreWriter(store, manifest, rank=ranks.rank) as writer:
        try:
            with FingerprintCache(store, ranks.rank) as seen:
                return _extract(ranks.share(images), writer, seen, extractor, options, progress)
        finally:
            if ranks.count == 1:  # Other ranks may be about to write.
                writer.discard_if_empty()


def discard_if_empty(store: Path) -> None:
    """Remove a store without images, once all processes that write to it have finished their share."""
    if not len(FeatureStore(store)):
        discard_store(store)


def _extract(
    images: Sequence[NamedImage],
    writer: FeatureStoreWriter,
    seen: FingerprintCache,
    extractor: RegionExtractor,
    options: ExtractionOptions,
    progress: StartProgress,
) -> ExtractionReport:
    """Run `extract_images` for this rank's share, into an open store."""
    skipped = SkippedList(writer.path, options.ranks.rank, options.ranks.count)
    missing = [image for image in images if image.name not in writer]
    paths = {image.name: image.path for image in missing}
    present = len(images) - len(missing)
    advance = progress(len(images), present)
    for other in _others(images, writer, seen, options.boxes):
        skipped.add(other)
    found, added = present - len(skipped.items), 0
    for outcome in _outcomes(missing, extractor, writer.manifest, options):
        if isinstance(outcome, SkippedImage):
            skipped.add(outcome)
            _check_extractor_works(skipped.items, found + added)
        else:
            fingerprint = seen.fingerprint(paths[name_from_bytes(outcome.name)])
            writer.append(outcome._replace(fingerprint=fingerprint))
            added += 1
        advance(1)
    _check_extractor_works(skipped.items, found + added, is_over=True)
    return ExtractionReport(added, found, skipped.items)


def describe_store(extractor: RegionExtractor, dtype: str, *, has_boxes: bool = False) -> StoreManifest:
    """Make the manifest of a store of this extractor's features, for boxes that it finds or is given."""
    return StoreManifest(
        feature_dim=extractor.feature_dim,
        feature_dtype=dtype,
        extractor=extractor.identity,
        description=_description(extractor),
        object_names=getattr(extractor, "object_names", None),
        attribute_names=getattr(extractor, "attribute_names", None),
        boxes="given" if has_boxes or extractor.needs_boxes else "found",
    )


def _check_boxes(extractor: RegionExtractor, boxes: BoxesOfImages | None) -> None:
    if extractor.needs_boxes and boxes is None:
        raise ConfigurationError(
            f"{extractor.identity} does not find objects by itself; provide their boxes (--boxes "
            "instances.json)"
        )
    if boxes is not None and not getattr(extractor, "takes_boxes", True):
        raise ConfigurationError(f"{extractor.identity} places its own boxes; omit the given ones (--boxes)")


def _others(
    images: Sequence[NamedImage],
    writer: FeatureStoreWriter,
    seen: FingerprintCache,
    boxes: BoxesOfImages | None,
) -> Iterable[SkippedImage]:
    """Return the images that the store has for another file or with other boxes than now, each once."""
    other_boxes = () if boxes is None else _other_boxes(images, writer, boxes)
    others = (*other_boxes, *_other_pictures(images, writer, seen))
    return {other.name: other for other in others}.values()


def _other_boxes(
    images: Sequence[NamedImage], writer: FeatureStoreWriter, boxes: BoxesOfImages
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
            yield SkippedImage(image.name, str(image.path), _OTHER_BOXES.format(boxes.path))


def _other_pictures(
    images: Sequence[NamedImage], writer: FeatureStoreWriter, seen: FingerprintCache
) -> Iterator[SkippedImage]:
    """Yield the images whose name the store has for a file of another fingerprint."""
    known = [(image, before) for image in images if (before := writer.fingerprint(image.name))]
    with ThreadPoolExecutor(_READING_THREADS) as threads:
        fingerprints = threads.map(lambda pair: seen.fingerprint(pair[0].path, pair[1]), known)
        for (image, before), now in zip(known, fingerprints, strict=True):
            if now not in (before, 0):
                yield SkippedImage(image.name, str(image.path), _OTHER_PICTURE)


def _outcomes(
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
        yield from look_here(Looker(extractor, manifest), jobs, options.batch_size)
        return
    description = _description(extractor)
    if description is None:
        raise ConfigurationError(
            f"{extractor.identity} was created in memory and can only be used with one worker"
        )
    yield from look_in_pool(description, manifest, jobs, min(options.workers, len(jobs)))


def _description(extractor: RegionExtractor) -> Mapping[str, Any] | None:
    try:
        return extractor.to_dict()
    except ConfigurationError:  # Its model was made in memory and has no name.
        return None


def _dtype_of(store: Path) -> str | None:
    try:
        return StoreManifest.read(store).feature_dtype
    except DataError:  # A new store, or not a store; opening it for writing reports that.
        return None


def _check_extractor_works(skipped: Sequence[SkippedImage], succeeded: int, *, is_over: bool = False) -> None:
    unforeseen = [item for item in skipped if isinstance(item, Unforeseen)]
    limit = 1 if is_over else _UNFORESEEN_BEFORE_ANY_SUCCESS
    if succeeded == 0 and len(unforeseen) >= limit:
        raise LxmertError(f"no image could be processed; the first error was: {unforeseen[0]}")

"""Reading every byte of a feature store and telling what is wrong with it, and what is in it.

Shapes: N objects of one image, D features per object.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lxmert.data.feature_store.encoding import read_name, view_arrays
from lxmert.data.feature_store.layout import (
    HAS_UNCLAMPED_BOXES,
    LABELS,
    Entry,
    PartFiles,
    is_entry_intact,
    list_parts,
    name_from_bytes,
)
from lxmert.data.feature_store.manifest import StoreManifest
from lxmert.data.feature_store.parts import Extent, image_faults, map_file, measure_extent
from lxmert.data.progress import Advance
from lxmert.errors import DataError, RegionsError
from lxmert.vision.geometry import validate_boxes


@dataclass
class StoreReport:
    """What a store holds, and everything that is wrong with it.

    Attributes:
        images: number of complete images.
        objects: number of objects of all of them.
        fewest_objects: of any image.
        most_objects: of any image.
        labels: how many images have each kind of label.
        feature_range: least and largest feature.
        feature_mean: mean of all features.
        boxes_leaving: images with a box that leaves the image by up to a pixel (clamped when read).
        unfinished_bytes: what a killed writer left behind the last complete image; the next one cuts it off.
        faults: one line for each fault; empty for a sound store.
    """

    images: int = 0
    objects: int = 0
    fewest_objects: int = 0
    most_objects: int = 0
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    feature_range: tuple[float, float] | None = None
    feature_mean: float | None = None
    boxes_leaving: int = 0
    unfinished_bytes: int = 0
    faults: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def verify_store(path: str | Path, advance: Advance = lambda images: None) -> StoreReport:
    """Check every image of a store: index, checksums, names that occur twice, ranges of all numbers.

    Args:
        path: the store's folder.
        advance: called with the number of images just checked.

    Raises:
        DataError: no store there, or its manifest is malformed.
    """
    folder = Path(path)
    manifest = StoreManifest.read(folder)
    report = StoreReport()
    statistics = _Statistics(report, manifest)
    for files in list_parts(folder):
        try:
            extent = measure_extent(files, manifest)
        except DataError as error:
            report.faults.append(str(error))
            continue
        _verify_part(files, extent, statistics, advance)
        report.unfinished_bytes += _unfinished_bytes(files, extent)
    statistics.finish()
    return report


class _Statistics:
    """Sums over all images."""

    def __init__(self, report: StoreReport, manifest: StoreManifest) -> None:
        self.report = report
        self.manifest = manifest
        self.first_uses: dict[str, str] = {}
        self._counts: list[int] = []
        self._low, self._high = np.inf, -np.inf
        self._sum = 0.0

    def add(self, name: str, entry: Entry, data: memoryview) -> list[str]:
        """Count one image whose bytes are right; returns what is wrong with its numbers."""
        report = self.report
        arrays = view_arrays(data, entry, self.manifest)
        report.images += 1
        self._counts.append(entry.objects)
        report.boxes_leaving += bool(entry.flags & HAS_UNCLAMPED_BOXES)
        for label, (flag, _) in LABELS.items():
            report.labels[label] += bool(entry.flags & flag)
        faults = []
        if arrays.features.size:
            features = arrays.features.astype(np.float32, copy=False)
            self._low = min(self._low, float(features.min()))
            self._high = max(self._high, float(features.max()))
            self._sum += float(features.sum(dtype=np.float64))
            if not np.isfinite(features).all():
                faults.append("features that are not finite")
        for scores, what in ((arrays.object_scores, "object"), (arrays.attribute_scores, "attribute")):
            if scores is not None and not ((scores >= 0) & (scores <= 1)).all():
                faults.append(f"{what} scores outside 0..1")
        try:
            validate_boxes(torch.from_numpy(arrays.boxes_xyxy_px.copy()), arrays.size_hw)
        except RegionsError as error:
            faults.append(str(error))
        return faults

    def finish(self) -> None:
        counts = self._counts
        if counts:
            self.report.objects = sum(counts)
            self.report.fewest_objects, self.report.most_objects = min(counts), max(counts)
        if self.report.objects:
            self.report.feature_range = (self._low, self._high)
            self.report.feature_mean = self._sum / (self.report.objects * self.manifest.feature_dim)


def _verify_part(files: PartFiles, extent: Extent, statistics: _Statistics, advance: Advance) -> None:
    index, names, data = (map_file(files.path(kind), size) for kind, size in extent.sizes.items())
    previous = Extent()  # Of the images before this one.
    for row in range(extent.images):
        place = f"{files.path('index').name}, image {row}"
        advance(1)
        if not is_entry_intact(index, row):
            statistics.report.faults.append(f"{place}: the checksum of its index entry is wrong")
            # How far this image reaches only the next entry can tell.
            if row + 1 < extent.images:
                previous = Extent.before_entry(Entry.unpack(index, row + 1), row + 1)
            continue
        entry = Entry.unpack(index, row)
        faults = image_faults(entry, previous, data, names, statistics.manifest)
        name = name_from_bytes(read_name(names, entry))
        if not faults:
            faults = statistics.add(name, entry, data)
        if (other := statistics.first_uses.setdefault(name, place)) != place:
            faults.append(f"the name is already used by {other}")
        statistics.report.faults += [f"{place}, {name!r}: {fault}" for fault in faults]
        previous = previous.after(entry)


def _unfinished_bytes(files: PartFiles, extent: Extent) -> int:
    paths_and_sizes = ((files.path(kind), size) for kind, size in extent.sizes.items())
    return sum(path.stat().st_size - size for path, size in paths_and_sizes if path.exists())

"""Random reads of a feature store against a bare `numpy.memmap` of the same bytes. Prints Markdown.

Run from the repository root: `.venv/bin/python benchmarks/feature_store.py [--images 4000]`. A store of
random features (36 objects × 2048, as for LXMERT) is made in a temporary folder; then each way of reading
alternates with the memmap that does the same work with the features, in the same random order of images, and
the median of the rounds is reported. "cached" reads from the page cache and measures processor time, which
does not depend on other work of the machine; "from disk" first drops the file from the page cache, and
measures wall-clock time.
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from measuring.process_memory import private_bytes
from torch.utils.data import DataLoader, Dataset

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.feature_store.layout import record_layout
from lxmert.data.feature_store.writer import PART_BYTES
from lxmert.data.stored_regions import StoredRegions
from lxmert.vision.regions import Regions

OBJECTS, FEATURE_DIM, ROUNDS, BATCH = 36, 2048, 5, 64
WORKERS = (1, 2, 4)
ReadFunction = Callable[[list[int]], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4000)
    images = parser.parse_args().images
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    print(f"{images:,} images of {OBJECTS} × {FEATURE_DIM}; median of {ROUNDS} rounds; {os.cpu_count()} CPU")
    print(f"cores, {platform.system()}, Python {platform.python_version()} ({versions}).\n")
    print("| stored as | read | work | memmap, µs per image | store, µs per image | of the memmap's speed |")
    print("|---|---|---|--:|--:|--:|")
    notes = []
    for dtype in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as folder:
            seconds = write_random_store(Path(folder), images, dtype)
            notes.append(f"- {dtype}: {images / seconds:,.0f} images/s written")
            for cached in (True, False):
                print_reads(Path(folder), dtype, cached)
            if dtype == "float32":
                notes += memory_notes(Path(folder))
    print("\n" + "\n".join(notes))


def write_random_store(folder: Path, images: int, dtype: str) -> float:
    """Write the store and return the seconds that writing took, without generating the features."""
    generator = torch.Generator().manual_seed(0)
    seconds = 0.0
    with FeatureStoreWriter(folder, StoreManifest(FEATURE_DIM, dtype, "benchmark")) as writer:
        for number in range(images):
            corners = torch.rand(OBJECTS, 2, generator=generator) * 300
            labels = torch.rand(2, OBJECTS, generator=generator)
            regions = Regions(
                boxes_xyxy_px=torch.cat([corners, corners + 100], dim=1),
                features=torch.rand(OBJECTS, FEATURE_DIM, generator=generator),
                size_hw=(480, 640),
                extractor="benchmark",
                object_ids=(labels[0] * 1600).long(),
                object_scores=labels[0],
                attribute_ids=(labels[1] * 400).long(),
                attribute_scores=labels[1],
            )
            start = time.perf_counter()
            writer.add(f"COCO_val2014_{number:012d}.jpg", regions)
            seconds += time.perf_counter() - start
    return seconds


class Readers:
    """The ways of reading a store, each with a bare memmap that does the same work."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.store = FeatureStore(folder)
        self.names = self.store.names
        (self.data,) = folder.glob("*.data")
        self.dtype = dtype
        self.record = record_layout(OBJECTS, FEATURE_DIM, dtype, int(self.store.flags()[0])).size
        if self.record * len(self.store) > PART_BYTES:
            raise SystemExit("the memmap to compare with is one file; ask for fewer images")
        self.stride = -(-self.record // 64) * 64
        self.feature_bytes = OBJECTS * FEATURE_DIM * np.dtype(dtype).itemsize
        self.rows: dict[Hashable, int] = {name: row for row, name in enumerate(self.names)}
        self.open()

    def open(self) -> None:
        """Map the file again."""
        self.store = FeatureStore(self.data.parent)
        self.memmap = np.memmap(self.data, np.uint8, mode="r")
        self.regions = {
            name: StoredRegions(self.store, self.rows, getattr(torch, name))
            for name in ("float32", "float16")
        }

    def read_as_float32(self, row: int) -> np.ndarray:
        """Copy all bytes of an image; convert float16 features to float32."""
        if self.dtype == "float32":
            return np.array(self.memmap[row * self.stride : row * self.stride + self.record])
        return self.features_at(row).astype(np.float32)

    def features_at(self, row: int) -> np.ndarray:
        """Return features (O, D) without copying."""
        stored = self.memmap[row * self.stride : row * self.stride + self.feature_bytes]
        return stored.view(self.dtype).reshape(OBJECTS, FEATURE_DIM)

    def fill_batch(self, rows: list[int], dtype: str) -> np.ndarray:
        """Fill a batch of features, without boxes and mask."""
        batch = np.empty((len(rows), OBJECTS, FEATURE_DIM), dtype)
        for place, row in enumerate(rows):
            batch[place] = self.features_at(row)
        return batch

    def pairs(self) -> dict[str, tuple[int, ReadFunction, ReadFunction]]:
        """Return, by the name of the work, images per call, the memmap's way and the store's way."""
        pairs: dict[str, tuple[int, ReadFunction, ReadFunction]] = {
            "features of an image, as stored: `store.arrays_at(position)`": (
                1,
                lambda part: self.features_at(part[0]).copy(),
                lambda part: self.store.arrays_at(part[0]).features.copy(),
            ),
            "an image in float32: `store[name]`": (
                1,
                lambda part: self.read_as_float32(part[0]),
                lambda part: self.store[self.names[part[0]]],
            ),
        }
        for dtype in dict.fromkeys(("float32", self.dtype)):
            pairs[f"{BATCH} images in {dtype}: `StoredRegions.batch`"] = self.batches(dtype)
        return pairs

    def batches(self, dtype: str) -> tuple[int, ReadFunction, ReadFunction]:
        """Return the entry of `pairs` for batches of this dtype."""
        return (
            BATCH,
            lambda part: self.fill_batch(part, dtype),
            lambda part: self.regions[dtype].batch(torch.tensor(part)),
        )


def print_reads(folder: Path, dtype: str, cached: bool) -> None:
    readers = Readers(folder, dtype)
    pairs = readers.pairs()
    timings: dict[tuple[str, int], list[float]] = {(work, who): [] for work in pairs for who in (0, 1)}
    clock = time.process_time if cached else time.perf_counter
    rows = list(range(len(readers.store)))
    for round_ in range(ROUNDS + 1):
        random.Random(round_).shuffle(rows)
        for work, (at_once, *ways) in pairs.items():
            parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
            for who, read in enumerate(ways):
                if not cached:
                    readers.open()
                    drop_from_page_cache(readers.data)
                start = clock()
                for part in parts:
                    read(part)
                if round_:  # The first round fills the caches.
                    timings[work, who].append((clock() - start) / len(rows) * 1e6)
    place = "cached" if cached else "from disk"
    for work in pairs:
        memmap, ours = (statistics.median(timings[work, who]) for who in (0, 1))
        print(f"| {dtype} | {place} | {work} | {memmap:.0f} | {ours:.0f} | {memmap / ours:.0%} |")


def drop_from_page_cache(path: Path) -> None:
    """Drop a file from the page cache; all its mappings must be closed or unread."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class PrivateMemoryDataset(Dataset[int]):
    """Reads an image, and returns the private memory of its process in bytes."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, position: int) -> int:
        self.store.regions_at(position)
        return private_bytes() if position % 200 == 0 else 0


def memory_notes(folder: Path) -> list[str]:
    notes = []
    store = FeatureStore(folder)
    for workers in WORKERS:
        loader = DataLoader(PrivateMemoryDataset(store), batch_size=50, num_workers=workers)
        used = [int(batch.max()) for batch in loader]
        seen = [value for value in used if value]
        notes.append(
            f"- {workers} DataLoader workers: {seen[0] / 2**20:.0f} MiB of private memory in a worker at "
            f"first, {seen[-1] / 2**20:.0f} MiB when all images are read"
        )
    return notes


if __name__ == "__main__":
    main()

"""Random reads of a feature store against a bare `numpy.memmap` of the same bytes. Prints Markdown.

Run from the repository root: `.venv/bin/python benchmarks/feature_store.py [--images 4000]`. A store of
random features (36 objects × 2048, as LXMERT's) is made in a temporary folder; then all ways of reading take
turns, in the same random order of images, and the median of the rounds is given. "cached" reads what lies in
the page cache, in processor time, which other work on the machine does not lengthen; "from disk" first asks
the system to forget the file, by the clock.
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
from torch.utils.data import DataLoader, Dataset

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.feature_store.layout import record_layout
from lxmert.data.feature_store.writer import PART_BYTES
from lxmert.data.stored_regions import StoredRegions
from lxmert.vision.regions import Regions

OBJECTS, FEATURE_DIM, ROUNDS, BATCH = 36, 2048, 5, 64
WORKERS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4000)
    images = parser.parse_args().images
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    print(f"{images:,} images of {OBJECTS} × {FEATURE_DIM}; median of {ROUNDS} rounds; {os.cpu_count()} CPU")
    print(f"cores, {platform.system()}, Python {platform.python_version()} ({versions}).\n")
    print(
        "| features | cache | way of reading | µs per image | of the memmap's speed |\n|---|---|---|--:|--:|"
    )
    notes = []
    for dtype in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as folder:
            seconds = make_store(Path(folder), images, dtype)
            notes.append(f"- {dtype}: {images / seconds:,.0f} images/s written")
            for cached in (True, False):
                print_reads(Path(folder), dtype, cached)
            if dtype == "float32":
                notes += memory_notes(Path(folder))
    print("\n" + "\n".join(notes))


def make_store(folder: Path, images: int, dtype: str) -> float:
    """Write the store; the seconds that the writing itself took."""
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


def print_reads(folder: Path, dtype: str, cached: bool) -> None:
    store = FeatureStore(folder)
    names = store.names
    (data,) = folder.glob("*.data")
    size = record_layout(OBJECTS, FEATURE_DIM, dtype, int(store.flags()[0])).size
    if size * len(store) > PART_BYTES:
        raise SystemExit("the memmap to compare with is one file; ask for fewer images")
    step = -(-size // 64) * 64
    feature_bytes = OBJECTS * FEATURE_DIM * np.dtype(dtype).itemsize
    bare = np.memmap(data, np.uint8, mode="r")

    by_name: dict[Hashable, int] = {name: row for row, name in enumerate(names)}
    regions = {kind: StoredRegions(store, by_name, kind) for kind in (torch.float32, getattr(torch, dtype))}

    def bare_batch(part: list[int]) -> object:
        batch = np.empty((len(part), OBJECTS, FEATURE_DIM), np.float32)
        for place, row in enumerate(part):
            stored = bare[row * step : row * step + feature_bytes].view(dtype)
            batch[place] = stored.reshape(OBJECTS, FEATURE_DIM)
        return batch

    ways: dict[str, tuple[int, Callable[[list[int]], object]]] = {
        "bare numpy.memmap, bytes copied": (
            1,
            lambda part: np.array(bare[part[0] * step : part[0] * step + size]),
        ),
        "bare numpy.memmap, features as float32": (
            1,
            lambda part: bare[part[0] * step : part[0] * step + feature_bytes].view(dtype).astype(np.float32),
        ),
        f"bare numpy.memmap, features into a float32 batch of {BATCH}": (BATCH, bare_batch),
        "store.arrays_at(position), features copied": (
            1,
            lambda part: store.arrays_at(part[0]).features.copy(),
        ),
        "store[name]: Regions, float32": (1, lambda part: store[names[part[0]]]),
    }
    for kind in regions:
        name = str(kind).removeprefix("torch.")
        ways[f"StoredRegions.batch of {BATCH}: {name} features, boxes, mask"] = (
            BATCH,
            lambda part, kind=kind: regions[kind].batch(torch.tensor(part)),
        )
    taken: dict[str, list[float]] = {way: [] for way in ways}
    clock = time.process_time if cached else time.perf_counter
    rows = list(range(len(store)))
    for round_ in range(ROUNDS + 1):
        random.Random(round_).shuffle(rows)
        for way, (at_once, read) in ways.items():
            if not cached:
                store, bare = FeatureStore(folder), np.memmap(data, np.uint8, mode="r")
                regions = {kind: StoredRegions(store, by_name, kind) for kind in regions}
                forget(data)
            parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
            start = clock()
            for part in parts:
                read(part)
            if round_:  # The first round fills the caches.
                taken[way].append((clock() - start) / len(rows) * 1e6)
    middle = {way: statistics.median(values) for way, values in taken.items()}
    memmap = next(iter(middle.values()))
    for way, value in middle.items():
        place = "cached" if cached else "from disk"
        print(f"| {dtype} | {place} | {way} | {value:.0f} | {memmap / value:.0%} |")


def forget(path: Path) -> None:
    """Drop a file from the page cache; every mapping of it must be gone or untouched."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Private(Dataset[int]):
    """Reads an image; gives the private memory of its process in bytes."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, position: int) -> int:
        self.store.regions_at(position)
        return private_bytes() if position % 200 == 0 else 0


def private_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))


def memory_notes(folder: Path) -> list[str]:
    notes = []
    store = FeatureStore(folder)
    for workers in WORKERS:
        loader = DataLoader(Private(store), batch_size=50, num_workers=workers)
        used = [int(batch.max()) for batch in loader]
        seen = [value for value in used if value]
        notes.append(
            f"- {workers} DataLoader workers: {seen[0] / 2**20:.0f} MiB of private memory in a worker at "
            f"first, {seen[-1] / 2**20:.0f} MiB when all images are read"
        )
    return notes


if __name__ == "__main__":
    main()

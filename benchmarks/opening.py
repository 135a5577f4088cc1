"""Opening the features of 10,000 images for training, compared with the original code's feature files.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/opening.py`. Ours opens a
feature store (10,000 images of 36 × 2048 features in float16), looks up every image by name, and starts a
DataLoader with 4 workers; it is ready when each worker has returned a batch. The peer reproduces the original
code's loader: every line of a tab-separated file is read by csv.DictReader, its base64 fields are decoded,
and all rows are kept in a list of dicts (float32), before the same DataLoader starts. Its file has fewer
rows, and its figures are scaled up to the same number of images. Each opening runs in a process of its own,
in turns; features are zeros on both sides, which makes no difference to either reader.
"""

import argparse
import base64
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measuring.options import CommonOptions, build_parser, parse_options
from measuring.process_memory import private_bytes
from measuring.results import Goal, Result, Table
from measuring.timing import log
from torch.utils.data import DataLoader, Dataset

from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.feature_tsv import FIELDS
from lxmert.data.region_source import open_regions
from lxmert.vision.regions import Regions

ROUNDS, WORKERS, BATCH, OBJECTS = 3, 4, 32, 36
MAX_SECONDS, MAX_MB = 1.0, 100.0
STORE, TSV = "feature store", "original loader's behaviour"
_DTYPES = {"objects_id": np.int64, "objects_conf": np.float32, "attrs_id": np.int64,
           "attrs_conf": np.float32, "boxes": np.float32, "features": np.float32}  # fmt: skip


def main(arguments: list[str]) -> None:
    common = parse_options(_parser(), arguments, "opening.py")
    args = common.args
    if args.alone is not None:
        print(json.dumps(_measure_in_this_process(args.alone[0], Path(args.alone[1]))))
        return
    images = args.opened or (40 if common.quick else 10_000)
    rows = args.tsv_rows or (20 if common.quick else 1000)
    width = 64 if common.quick else 2048
    found: dict[str, list[dict[str, float]]] = {STORE: [], TSV: []}
    with tempfile.TemporaryDirectory() as folder:
        places = {STORE: Path(folder) / "store", TSV: Path(folder) / "original.tsv"}
        write_store(places[STORE], images, width)
        write_tsv(places[TSV], rows, width)
        log(f"written: {images:,} images, and {rows:,} rows")
        for number in range(common.rounds):
            for side, place in places.items():
                found[side].append(_run_in_subprocess(side, place))
                took = found[side][-1]
                log(f"round {number + 1}: {side}, {took['seconds']:.2f} s, {took['bytes'] / 1e6:,.0f} MB")
    _result(common, found, images, rows, width).write(common.results)


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__, ROUNDS)
    parser.add_argument("--opened", type=int, metavar="IMAGES", help="images of the store (10,000)")
    parser.add_argument("--tsv-rows", type=int, help="rows of the original file (1,000)")
    parser.add_argument("--alone", nargs=2, metavar=("SIDE", "PLACE"), help=argparse.SUPPRESS)
    return parser


def _result(
    common: CommonOptions,
    found: Mapping[str, Sequence[Mapping[str, float]]],
    images: int,
    rows: int,
    width: int,
) -> Result:
    medians = {
        side: {name: median(one[name] for one in rounds) for name in rounds[0]}
        for side, rounds in found.items()
    }
    times = images / rows
    table = [(f"{STORE}, {images:,} images", *_format_sizes(medians[STORE], 1.0))]
    table.append((f"{TSV}, {rows:,} images, measured", *_format_sizes(medians[TSV], 1.0)))
    table.append((f"{TSV}, {images:,} images, scaled up", *_format_sizes(medians[TSV], times)))
    seconds, megabytes = medians[STORE]["seconds"], medians[STORE]["bytes"] / 1e6
    result = Result(
        name="opening",
        title=f"Opening the features of {images:,} images",
        about=f"{images:,} images of {OBJECTS} × {width} features, float16 in the store and float32 in the "
        f"original file; {WORKERS} DataLoader workers; ready when each of them has given a batch of {BATCH} "
        f"images. Medians of {common.rounds} rounds in turns, each opening in a process of its own. Memory "
        "is what the process and its workers hold beyond what they held before (private pages; what the "
        "system keeps of files is not counted). The original file has fewer rows: seconds and bytes of the "
        f"last line are {times:g} times the measured ones.",
        command=common.command,
        settings={"images": images, "rows": rows, "workers": WORKERS, "rounds": common.rounds},
        raw=found,
        notes=["All features are zeros, on both sides; neither reader looks at them while opening."],
    )
    result.tables.append(
        Table("Until ready", ("side", "seconds to open", "seconds until ready", "MB"), table)
    )
    result.goals.append(
        Goal(
            f"opening {images:,} images' features, {WORKERS} workers",
            f"under {MAX_SECONDS:.0f} s and {MAX_MB:.0f} MB",
            f"{seconds:.2f} s, {megabytes:.0f} MB ({medians[TSV]['seconds'] * times / seconds:.0f} times as "
            f"fast as the original loader, {medians[TSV]['bytes'] * times / 1e6 / megabytes:.0f} times less "
            "memory)",
            seconds < MAX_SECONDS and megabytes < MAX_MB,
        )
    )
    return result


def _format_sizes(sizes: Mapping[str, float], times: float) -> tuple[str, ...]:
    opened, ready, held = sizes["opened"] * times, sizes["seconds"] * times, sizes["bytes"] * times
    return f"{opened:.2f}", f"{ready:.2f}", f"{held / 1e6:,.0f}"


def _run_in_subprocess(side: str, place: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, "--threads", "1", "--alone", side, str(place)]
    completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(completed.stdout)


class MemoryProbe(Dataset[int]):
    """Reads images, and returns the private memory of the process that read them.

    Args:
        read: reads the images at the given indices.
        images: number of images.
    """

    def __init__(self, read: Any, images: int) -> None:
        self._read = read
        self._images = images

    def __len__(self) -> int:
        return self._images

    def __getitems__(self, numbers: list[int]) -> list[int]:
        """Return the memory in bytes after reading these images."""
        self._read(numbers)
        return [private_bytes()]


def _measure_in_this_process(side: str, place: Path) -> dict[str, float]:
    """Open in this process; return seconds, and the bytes by which the memory of all processes increased."""
    before, start = private_bytes(), time.perf_counter()
    dataset = open_store(place) if side == STORE else open_tsv(place)
    opened = time.perf_counter() - start
    batches = [
        [number % len(dataset) for number in range(first, first + BATCH)]
        for first in range(0, BATCH * WORKERS, BATCH)
    ]
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=list, num_workers=WORKERS)
    held = [values[0] for values in loader]
    seconds = time.perf_counter() - start
    return {"opened": opened, "seconds": seconds, "bytes": private_bytes() - before + sum(held)}


def open_store(folder: Path) -> MemoryProbe:
    """Open a store as training opens one that is larger than its memory."""
    store = FeatureStore(folder)
    source = open_regions(store, store.names, in_memory_bytes=0)
    rows = list(source.rows.values())
    return MemoryProbe(lambda numbers: source.batch(torch.tensor([rows[n] for n in numbers])), len(rows))


def open_tsv(path: Path) -> MemoryProbe:
    """Read a feature file as the original code does: all of it, into a list of dicts of arrays."""
    csv.field_size_limit(2**31 - 1)
    rows: list[dict[str, Any]] = []
    with path.open(encoding="ascii") as file:
        for row in csv.DictReader(file, FIELDS, delimiter="\t"):
            item: dict[str, Any] = dict(row)
            for name in ("img_h", "img_w", "num_boxes"):
                item[name] = int(item[name])
            boxes = item["num_boxes"]
            for name, dtype in _DTYPES.items():
                shape = (boxes, -1) if name in ("boxes", "features") else (boxes,)
                values = np.frombuffer(base64.b64decode(item[name]), dtype=dtype).reshape(shape)
                values.setflags(write=False)
                item[name] = values
            rows.append(item)
    return MemoryProbe(lambda numbers: np.stack([rows[n]["features"].copy() for n in numbers]), len(rows))


def write_store(folder: Path, images: int, width: int) -> None:
    """Write a store of images whose features are zeros."""
    regions = Regions(
        boxes_xyxy_px=torch.tensor([[10.0, 20.0, 110.0, 220.0]]).repeat(OBJECTS, 1),
        features=torch.zeros(OBJECTS, width),
        size_hw=(480, 640),
        extractor="benchmark",
        object_ids=torch.zeros(OBJECTS, dtype=torch.long),
        object_scores=torch.full((OBJECTS,), 0.5),
        attribute_ids=torch.zeros(OBJECTS, dtype=torch.long),
        attribute_scores=torch.full((OBJECTS,), 0.5),
    )
    with FeatureStoreWriter(folder, StoreManifest(width, "float16", "benchmark")) as writer:
        for number in range(images):
            writer.add(f"COCO_train2014_{number:012d}", regions)


def write_tsv(path: Path, rows: int, width: int) -> None:
    """Write a file in the original code's format whose features are zeros."""
    counts = dict.fromkeys(_DTYPES, OBJECTS) | {"boxes": 4 * OBJECTS, "features": width * OBJECTS}
    encoded = {
        name: base64.b64encode(np.zeros(counts[name], dtype).tobytes()).decode("ascii")
        for name, dtype in _DTYPES.items()
    }
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, delimiter="\t")
        for number in range(rows):
            sizes = {"img_h": 480, "img_w": 640, "num_boxes": OBJECTS}
            writer.writerow({"img_id": f"COCO_train2014_{number:012d}", **sizes, **encoded})


if __name__ == "__main__":
    main(sys.argv[1:])

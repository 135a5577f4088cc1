"""Speed of making pre-training batches, and memory of the loader processes. Prints Markdown.

Run from the repository root: `.venv/bin/python benchmarks/pretraining_batches.py [--images 2000]`. A store of
random features (36 objects × 2048, float16) and sentences of 3 to 25 made-up words are made in a temporary
folder; batches of 256 are read from the page cache in random order. Processor time is reported besides
wall-clock time, because it does not depend on other work of the machine. As in a DataLoader's worker, torch
uses one thread.
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from feature_store import write_random_store
from measuring.process_memory import private_bytes
from torch.utils.data import DataLoader

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.feature_store import FeatureStore
from lxmert.data.image_text import ImageText
from lxmert.data.pretraining_dataset import PretrainingCollator, PretrainingDataset, PretrainingItem
from lxmert.data.region_source import open_regions
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.weights.dtypes import dtype_name

BATCH, ROUNDS, SENTENCES_PER_IMAGE = 256, 5, 50
WORKERS = (1, 2)
WORDS = [f"word{number}" for number in range(30_000)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    images = parser.parse_args().images
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "tokenizers"))
    print(f"{images:,} images, {images * SENTENCES_PER_IMAGE:,} sentences, batches of {BATCH}; median of")
    print(f"{ROUNDS} rounds; {os.cpu_count()} CPU cores, {platform.system()}, Python "
          f"{platform.python_version()} ({versions}).\n")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_random_store(Path(folder), images, "float16")
        store = FeatureStore(Path(folder))
        texts = sentences(list(store.names))
        data = {}
        for dtype in (torch.float32, torch.float16):
            regions = open_regions(store, store.names, in_memory_bytes=0, feature_dtype=dtype)
            start = time.process_time()
            data[dtype] = PretrainingDataset(texts, tokenizer(), 20, regions, AnswerVocabulary(WORDS[:9500]))
            seconds = time.process_time() - start
        print(f"- tokenising, and looking up images and answers: {len(texts) / seconds:,.0f} sentences/s\n")
        print_parts(data)
        print()
        for workers in WORKERS:
            print_workers(data[torch.float32], workers)


def tokenizer() -> LxmertTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return LxmertTokenizerFast(vocab={word: number for number, word in enumerate([*special, *WORDS])})


def sentences(names: list[str]) -> list[ImageText]:
    choose = random.Random(0)
    found = []
    for name in names:
        for number in range(SENTENCES_PER_IMAGE):
            words = " ".join(choose.choices(WORDS, k=choose.randint(3, 25)))
            answers = {choose.choice(WORDS): 1.0, choose.choice(WORDS): 0.3} if number % 3 == 0 else None
            found.append(ImageText(name, words, "benchmark", answers))
    return found


def print_parts(data: dict[torch.dtype, PretrainingDataset]) -> None:
    print("| part of the work | µs per sentence (processor) | µs (clock) |\n|---|--:|--:|")
    dataset = data[torch.float32]
    rows: dict[str, Callable[[list[int], list[PretrainingItem]], object]] = {
        "items: sentence, pair and answer": lambda draws, items: [dataset[draw] for draw in draws],
    }
    for dtype, dataset in data.items():
        name = dtype_name(dtype)
        rows[f"regions alone, {name}"] = lambda draws, items, of=dataset: of.regions.batch(
            torch.tensor([item.region_row for item in items])
        )
        collate = PretrainingCollator(dataset)
        rows[f"whole batch of items, {name}"] = lambda draws, items, collate=collate: collate(items)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for round_ in range(ROUNDS + 1):
        draws = random.Random(round_).sample(range(len(dataset)), BATCH * 4)
        for name, work in rows.items():
            parts = [draws[start : start + BATCH] for start in range(0, len(draws), BATCH)]
            items = [[dataset[draw] for draw in part] for part in parts]
            clock, processor = time.perf_counter(), time.process_time()
            for part, ready in zip(parts, items, strict=True):
                work(part, ready)
            if round_:
                taken[name].append((time.process_time() - processor, time.perf_counter() - clock))
    for name, times in taken.items():
        processor_us, clock_us = (
            statistics.median(column) / len(draws) * 1e6 for column in zip(*times, strict=True)
        )
        print(f"| {name} | {processor_us:.0f} | {clock_us:.0f} |")


class MemoryCollator:
    """A collator that also returns the private memory of its process in bytes."""

    def __init__(self, collate: PretrainingCollator) -> None:
        self.collate = collate

    def __call__(self, items: list[PretrainingItem]) -> Any:
        """Return the batch and the memory."""
        return self.collate(items) | {"memory": private_bytes()}


def print_workers(data: PretrainingDataset, workers: int) -> None:
    draws = random.Random(workers).sample(range(len(data)), min(len(data), BATCH * 60))
    batches = [draws[start : start + BATCH] for start in range(0, len(draws), BATCH)]
    collate = MemoryCollator(PretrainingCollator(data))
    loader = DataLoader(
        data, batch_sampler=batches, collate_fn=collate, num_workers=workers, prefetch_factor=2
    )
    start = time.perf_counter()
    memory = [batch["memory"] for batch in loader]
    seconds = time.perf_counter() - start
    warm, last = max(memory[: 4 * workers]), max(memory[-2 * workers :])
    print(
        f"- {workers} DataLoader workers: {len(draws) / seconds:,.0f} sentences/s; private memory of a "
        f"worker {warm / 2**20:.0f} MiB in its first batches, {last / 2**20:.0f} MiB in its last of "
        f"{len(batches)}"
    )


if __name__ == "__main__":
    main()

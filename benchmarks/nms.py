"""Non-maximum suppression of 6,000 boxes, compared with a plain loop over the boxes. Prints Markdown.

Run from the repository root: `.venv/bin/python benchmarks/nms.py`. The published detector suppresses this
many anchors to select its proposals. Both sides process the same boxes in turn, in several arrangements, and
must keep the same ones:

- the plain loop takes the best remaining box, computes its overlap with all other remaining ones, and removes
  those above the threshold, until none remain;
- `lxmert.vision.nms` is what the detector uses; since the detector stops at 300 boxes, this is timed too.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch
from torch import Tensor

from lxmert.vision.nms import nms

BOXES = 6000
THRESHOLD = 0.7
LIMIT = 300
SIZE_HW_PX = (800, 1067)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="measurements of each side; default 21")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads; default all cores")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{BOXES:,} boxes, threshold {THRESHOLD}; {args.rounds} rounds in turn; {args.threads} "
        f"threads on {os.cpu_count()} CPU\ncores; Python {platform.python_version()}, torch "
        f"{version('torch')}. Milliseconds.\n"
    )
    print("| boxes | kept | plain loop, median | ours, median | worst | times as fast | ours, limit 300 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, boxes, scores in arrangements():
        print(measure_row(name, boxes, scores, args.rounds), flush=True)


def arrangements() -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield names, boxes (N, 4) in pixels and scores (N,)."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(BOXES, generator=generator)
    boxes = random_boxes(generator)
    yield "random", boxes, scores
    yield "random, all scores equal", boxes, torch.full((BOXES,), 0.5)
    yield "clustered about 60 places", clustered_boxes(generator, places=60), scores
    yield "none overlapping", disjoint_boxes(), scores
    yield "all the same", boxes[:1].repeat(BOXES, 1), scores


def random_boxes(generator: torch.Generator) -> Tensor:
    """Make boxes with sides of 16 to 400 pixels at random positions."""
    height, width = SIZE_HW_PX
    corners = torch.rand(BOXES, 2, generator=generator) * torch.tensor([width, height])
    sides = 16 + torch.rand(BOXES, 2, generator=generator) * 384
    return torch.cat([corners, corners + sides], dim=1)


def clustered_boxes(generator: torch.Generator, places: int) -> Tensor:
    """Make boxes clustered like proposals around objects: boxes at several places, moved by some pixels."""
    chosen = random_boxes(generator)[torch.randint(places, (BOXES,), generator=generator)]
    return chosen + torch.randn(BOXES, 4, generator=generator) * 3


def disjoint_boxes() -> Tensor:
    """Make disjoint boxes in a grid: none is removed, so that every box is compared with all others."""
    across = 80
    number = torch.arange(BOXES)
    corners = torch.stack([number % across, number // across], dim=1) * 12.0
    return torch.cat([corners, corners + 10], dim=1)


def plain_loop(boxes_xyxy: Tensor, scores: Tensor) -> Tensor:
    order = torch.argsort(scores, descending=True, stable=True)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(dim=1)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes_xyxy[order, :2], boxes_xyxy[best, :2])
        high = torch.minimum(boxes_xyxy[order, 2:], boxes_xyxy[best, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        order = order[~(shared / (areas[order] + areas[best] - shared) > THRESHOLD)]
    return torch.stack(kept)


def measure_row(name: str, boxes: Tensor, scores: Tensor, rounds: int) -> str:
    sides: dict[str, Callable[[], Tensor]] = {
        "loop": lambda: plain_loop(boxes, scores),
        "ours": lambda: nms(boxes, scores, THRESHOLD),
        "limited": lambda: nms(boxes, scores, THRESHOLD, limit=LIMIT),
    }
    kept = {side: suppress() for side, suppress in sides.items()}  # warms up
    if not torch.equal(kept["loop"], kept["ours"]) or not torch.equal(kept["ours"][:LIMIT], kept["limited"]):
        raise RuntimeError(f"{name}: the two sides keep other boxes")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, suppress in sides.items():
            start = time.perf_counter()
            suppress()
            seconds[side].append(time.perf_counter() - start)
    loop, ours, limited = (1000 * statistics.median(seconds[side]) for side in sides)
    worst = 1000 * max(seconds["ours"])
    return (
        f"| {name} | {len(kept['ours']):,} | {loop:.0f} | {ours:.1f} | {worst:.1f} | {loop / ours:.0f} "
        f"| {limited:.1f} |"
    )


if __name__ == "__main__":
    main()

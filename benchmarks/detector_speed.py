"""Speed and memory use of the full-size detector. Prints Markdown.

Run from the repository root: `.venv/bin/python benchmarks/detector_speed.py`, with `--device cuda` on a GPU.
Three sides process the same image of 640×480 pixels, 800×1067 for the network, with the same weights:

- published: the computation of the published code, with separate convolutions and normalisations in
  channels-first layout, and all 300 proposals in one batch through res5; with our pooling and non-maximum
  suppression, which are faster than those of the published code;
- float32 and bfloat16: `FasterRcnnExtractor` with that dtype.

Each side runs in a process of its own, whose peak memory is read at the end; the sides are timed in turn.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lxmert.vision import FasterRcnn, FasterRcnnConfig, FasterRcnnExtractor, Regions
from lxmert.vision.faster_rcnn.preprocessing import network_size, to_image_boxes, to_network_pixels
from lxmert.vision.faster_rcnn.selection import RoiPredictions, SelectionSettings, select_detections
from lxmert.vision.geometry import iou

SIDES = ("published", "float32", "bfloat16")
IMAGE_HW = (480, 640)
IMAGES_ON_GPU = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each side; default 7")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads; default all cores")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run_worker(args.worker, args.folder, args.device)
        return
    with tempfile.TemporaryDirectory() as folder:
        build_detector().save_pretrained(folder)
        seconds, memory = measure(Path(folder), args)
        report(Path(folder), args, seconds, memory)


def measure(folder: Path, args: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Measure the seconds of every round and the peak memory in GB of each side."""
    workers = {}
    for side in SIDES:
        command = [sys.executable, __file__, "--worker", side, "--folder", str(folder)]
        command += ["--device", args.device]
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        pipe = subprocess.PIPE
        workers[side] = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        read_reply(workers[side])  # ready and warmed up
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(args.rounds):
        for side, worker in workers.items():
            seconds[side].append(request(worker, "extract"))
    memory = {side: request(worker, "stop") for side, worker in workers.items()}
    for worker in workers.values():
        worker.wait()
    return seconds, memory


def request(worker: subprocess.Popen[str], command_name: str) -> float:
    if worker.stdin is None:
        raise RuntimeError("the worker has no input")
    print(command_name, file=worker.stdin, flush=True)
    return read_reply(worker)


def read_reply(worker: subprocess.Popen[str]) -> float:
    line = "" if worker.stdout is None else worker.stdout.readline()
    if not line:
        raise RuntimeError("a worker ended early; its error is above")
    return float(line)


def run_worker(side: str, folder: Path, device: str) -> None:
    """Run one side: process the image whenever a line requests it, and print the seconds."""
    extract = published(folder, device) if side == "published" else ours(folder, device, side)
    images = [generate_image()] * (IMAGES_ON_GPU if device == "cuda" else 1)
    regions = extract(images)
    regions[0].save(folder / f"{side}.safetensors")
    print(0.0, flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        start = time.perf_counter()
        extract(images)
        print((time.perf_counter() - start) / len(images), flush=True)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else peak_kb / 1e6, flush=True)


def ours(folder: Path, device: str, dtype: str) -> Callable[[Sequence[Image.Image]], list[Regions]]:
    return FasterRcnnExtractor(folder, dtype=dtype).to(device)


def published(folder: Path, device: str) -> Callable[[Sequence[Image.Image]], list[Regions]]:
    detector = FasterRcnn.from_pretrained(folder).eval().to(device)
    return lambda images: [extract_as_published(detector, image) for image in images]


@torch.no_grad()
def extract_as_published(detector: FasterRcnn, image: Image.Image) -> Regions:
    pixels = to_network_pixels(image, detector.config).to(detector.device)
    size_hw, network_hw = (image.height, image.width), tuple(pixels.shape[1:])
    feature_map = detector.feature_map(pixels[None])[0]
    proposals, _ = detector.propose(feature_map, network_hw)
    pooled = detector.pooler(feature_map)(proposals).contiguous()  # (300, C, 14, 14)
    features = detector.roi_heads.encode(pooled)
    predictions = RoiPredictions(proposals, features, *detector.classify(features))
    found = select_detections(predictions, network_hw, SelectionSettings())
    return Regions(
        boxes_xyxy_px=to_image_boxes(found.boxes_xyxy.cpu(), network_hw, size_hw),
        features=features[found.roi_indices].cpu(),
        size_hw=size_hw,
        extractor="published",
        object_ids=found.object_ids.cpu(),
        object_scores=found.object_scores.cpu(),
        attribute_ids=found.attribute_ids.cpu(),
        attribute_scores=found.attribute_scores.cpu(),
    )


@torch.no_grad()
def build_detector() -> FasterRcnn:
    """Make a detector with random weights that yields 300 proposals and neither equal nor extreme scores."""
    torch.manual_seed(0)
    detector = FasterRcnn(FasterRcnnConfig()).eval()
    for name, module in detector.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.bias.normal_(0, 0.1)
            # The last layer of a block is added to the shortcut; unscaled, 33 blocks would overflow.
            module.weight.uniform_(0.5, 1.5).mul_(0.3 if "conv3" in name else 1.0)
    pixels = to_network_pixels(generate_image(), detector.config)
    feature_map = detector.feature_map(pixels[None])
    head, predictor = detector.proposal_generator.rpn_head, detector.roi_heads.box_predictor
    hidden = torch.relu(head.conv(feature_map)).flatten(2)[0].T  # (cells, channels)
    rescale_outputs(head.objectness_logits, hidden, 2.0)
    rescale_outputs(head.anchor_deltas, hidden, 0.2)
    proposals, _ = detector.propose(feature_map[0], tuple(pixels.shape[1:]))
    features = detector.roi_features(feature_map[0], proposals[::10])
    rescale_outputs(predictor.cls_score, features, 3.0)
    rescale_outputs(predictor.bbox_pred, features, 1.0)
    joined = torch.cat([features, predictor.cls_embedding.weight[: len(features)]], dim=1)
    rescale_outputs(predictor.fc_attr, joined, 1.0)
    rescale_outputs(predictor.attr_score, torch.relu(predictor.fc_attr(joined)), 3.0)
    return detector


def rescale_outputs(layer: nn.Module, inputs: Tensor, std: float) -> None:
    """Shift and scale a layer so that its outputs for these inputs have mean 0 and deviation `std`."""
    outputs = inputs @ layer.weight.flatten(1).T
    outputs -= outputs.mean(dim=0)
    factor = std / outputs.std()
    layer.weight.mul_(factor)
    layer.bias.copy_(-(inputs @ layer.weight.flatten(1).T).mean(dim=0))


def generate_image() -> Image.Image:
    """Make an image of colour noise at several scales, the same each time."""
    random, values = np.random.default_rng(0), np.zeros((*IMAGE_HW, 3))
    for cells in (3, 8, 20, 60):
        cloud = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        values += np.asarray(cloud.resize(IMAGE_HW[::-1], Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((values / 4).round().astype(np.uint8))


def report(folder: Path, args: argparse.Namespace, seconds: dict, memory: dict) -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    where = f"{args.threads} threads on {os.cpu_count()} CPU cores"
    if args.device == "cuda":
        where = f"{torch.cuda.get_device_name()}, {IMAGES_ON_GPU} pictures of equal size at a time"
    network = "×".join(map(str, network_size(IMAGE_HW, 800, 1333)))
    print(f"Median of {args.rounds} rounds in turn; {where}; a 640×480 picture at {network};")
    print(f"Python {platform.python_version()}, {versions}. Memory is that of the whole process")
    print("(on a GPU what tensors take there).\n")
    print("| side | seconds per picture | times as fast (each round) | peak GB |\n|---|--:|--:|--:|")
    for side in SIDES:
        ratios = [base / own for base, own in zip(seconds["published"], seconds[side], strict=True)]
        ratio_range = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {side} | {statistics.median(seconds[side]):.2f} | {ratio_range} | {memory[side]:.2f} |")
    regions = {side: Regions.load(folder / f"{side}.safetensors") for side in SIDES}
    print("\nResults against `published`, objects matched by box:\n")
    print("| side | objects with IoU above 0.99 | same class | same attribute | features, relative error |")
    print("|---|--:|--:|--:|--:|")
    for side in SIDES[1:]:
        print(f"| {side} | {agreement(regions[side], regions['published'])} |")


def agreement(found: Regions, expected: Regions) -> str:
    overlap, row = iou(expected.boxes_xyxy_px, found.boxes_xyxy_px).max(dim=1)
    same = overlap > 0.99
    matched, reference = found.select(row[same]), expected.select(same)
    classes = int((matched.object_ids == reference.object_ids).sum())
    attributes = int((matched.attribute_ids == reference.attribute_ids).sum())
    error = float((matched.features - reference.features).norm() / reference.features.norm())
    return (
        f"{len(reference)} of {len(expected)} | {classes} of {len(reference)} | "
        f"{attributes} of {len(reference)} | {error:.1e}"
    )


if __name__ == "__main__":
    main()

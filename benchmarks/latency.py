"""Latency of one more question about an already encoded image, compared with `transformers`' LXMERT.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/latency.py`. Both sides
have the same random weights (full size, 9/5/5 layers of width 768, 3,129 answers). The question has 10 word
pieces, the image 36 objects. Ours caches the output of the object-relationship layers; the peer has no such
cache and runs its whole forward pass, in float32 and in bfloat16, of which the faster one counts.
"""

import argparse
import sys
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from measuring.gemm import GemmRates
from measuring.machine import machine_info
from measuring.models import DTYPES, VQA_ANSWERS, build_answering_pair, build_config, copy_in_dtype
from measuring.options import CommonOptions, build_parser, parse_options
from measuring.results import Goal, Result, Table
from measuring.settings import OURS, PEERS, dtype_of, fast_models
from measuring.streams import OBJECTS
from measuring.timing import Side, keep_working_sides, ratios, time_alternating
from measuring.work import latency_operations

from lxmert.inference.fast_model import FastModel

ROUNDS = 50
WARMUPS = 10
WORDS = 10
GOAL = 3.0


def main(arguments: list[str]) -> None:
    common = parse_options(_parser(), arguments, "latency.py")
    config = build_config(common.quick, num_qa_labels=VQA_ANSWERS)
    sides, notes = _sides(config, common)
    rates = GemmRates(common.device, quick=common.quick)
    for _ in range(common.rounds if common.quick else 5):
        rates.measure()
    sides = keep_working_sides(sides, notes)
    timings = time_alternating(sides, common.rounds, warmups=WARMUPS, device=common.device, every=10)
    operations = latency_operations(config, WORDS, OBJECTS)
    result = Result(
        name="latency" if common.device == "cpu" else f"latency_{common.device}",
        title="One question about an image that is set",
        about=f"{WORDS} word pieces, {OBJECTS} objects; {operations / 1e9:.2f} GFLOP are needed. Medians of "
        f"{common.rounds} rounds in turns in one process. Ours begins with what its object-relationship "
        "layers made of the image; the peer computes its whole forward pass in `inference_mode`, with eager "
        "attention, the only one it has, not compiled.",
        command=common.command,
        machine=machine_info(common.device),
        gemm=rates.to_dict(),
        settings={"words": WORDS, "objects": OBJECTS, "rounds": common.rounds, "operations": operations},
        raw=timings,
        notes=notes,
    )
    fastest_peer = min(PEERS.values(), key=lambda name: median(timings[name]))
    fastest = min((name for name in timings if name in OURS), key=lambda name: median(timings[name]))
    result.tables.append(_table(timings, fastest_peer, operations, rates))
    times, _, _ = ratios(timings[fastest_peer], timings[fastest])
    share = operations / median(timings[fastest]) / rates.limit(dtype_of(fastest))
    result.goals.append(
        Goal("one question, image already set, full size", f"{GOAL:.0f}× lower latency",
             f"{times:.2f}× ({median(timings[fastest]) * 1e3:.1f} ms against "
             f"{median(timings[fastest_peer]) * 1e3:.1f} ms)",
             times >= GOAL, share, f"{fastest} against {fastest_peer}")
    )  # fmt: skip
    result.write(common.results)


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__, ROUNDS, on_gpu=True)
    parser.add_argument("--no-compile", action="store_true", help="omit compiled models")
    return parser


def _sides(config: Any, common: CommonOptions) -> tuple[dict[str, Side], list[str]]:
    """Return the sides by name, and notes on omitted ones."""
    device = common.device
    ours, peer = build_answering_pair(config)
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, config.vocab_size, (1, WORDS), generator=generator).to(device)
    image = {
        "visual_feats": torch.rand(1, OBJECTS, config.visual_feat_dim, generator=generator).to(device),
        "visual_pos": torch.rand(1, OBJECTS, config.visual_pos_dim, generator=generator).to(device),
    }
    mask = torch.ones_like(words)
    sides: dict[str, Side] = {}
    for dtype, name in PEERS.items():
        model = copy_in_dtype(peer, DTYPES[dtype]).to(device)
        inputs = {part: values.to(model.dtype) for part, values in image.items()}
        sides[name] = lambda model=model, inputs=inputs: _run_peer(model, words, mask, inputs)
    models, notes = fast_models(ours, common.device, with_compiled=not common.args.no_compile)
    for name, fast in models.items():
        sides[name] = _question_call(fast, words, image)
    return sides, notes


def _question_call(fast: FastModel, words: torch.Tensor, image: Mapping[str, torch.Tensor]) -> Side:
    """Return a call that answers the question; the first call, which is not measured, encodes the image."""
    encoded_image: list[torch.Tensor] = []

    def ask() -> torch.Tensor:
        if not encoded_image:
            encoded_image.append(fast.encode_objects(**image))
        # A single question has no padding, so that no mask is needed.
        return fast.scores(fast.encode_words(words), None, encoded_image[0], None)

    return ask


@torch.inference_mode()
def _run_peer(
    model: Any, words: torch.Tensor, mask: torch.Tensor, image: Mapping[str, torch.Tensor]
) -> object:
    return model(input_ids=words, attention_mask=mask, **image)


def _table(timings: Mapping[str, list[float]], peer: str, operations: int, rates: GemmRates) -> Table:
    rows = []
    for name, seconds in timings.items():
        times, _, _ = ratios(timings[peer], seconds)
        share = operations / median(seconds) / rates.limit(dtype_of(name))
        ordered = sorted(seconds)
        p90 = ordered[int(0.9 * (len(ordered) - 1))]
        rows.append(
            (name, f"{median(seconds) * 1e3:.1f}", f"{p90 * 1e3:.1f}", f"{times:.2f}", f"{share:.1%}")
        )
    columns = ("side", "ms (median)", "ms (9 of 10 below)", "times the faster peer", "share of the limit")
    return Table("Latency", columns, rows)


if __name__ == "__main__":
    main(sys.argv[1:])

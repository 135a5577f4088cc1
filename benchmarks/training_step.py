"""A training step compared with `transformers`' LXMERT: pre-training on all five tasks, or fine-tuning.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/training_step.py`; with
--finetuning a step of question answering (3,129 answers as in VQA, cross-entropy). Both sides have the same
initial weights (full size, 9/5/5 layers of width 768) and the same batch; a step consists of forward,
backward, gradient clipping and fused AdamW, in float32 and under bfloat16 autocast. The peer pads texts to
the longest of the batch (the row that counts), and to 20 words as users of the original code do. Its
attention is eager, the only implementation it has for LXMERT, and it is not compiled.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from measuring.gemm import GemmRates
from measuring.machine import machine_info
from measuring.models import DTYPES, VQA_ANSWERS, build_config
from measuring.options import build_parser, parse_options
from measuring.results import Goal, Result, Table
from measuring.settings import dtype_of
from measuring.timing import Side, keep_working_sides, ratios, time_alternating
from measuring.training import (
    PADDED_WORDS,
    Batch,
    Step,
    generate_answering_batch,
    generate_batch,
    our_model,
    peer_model,
)
from measuring.work import finetuning_operations, training_operations

from lxmert.training.cpu.memory import keep_freed_memory

ROUNDS = 5
MEMORY_VARIABLES = ("GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE")
"""Memory settings that a user may set in addition; they apply to both sides."""
DYNAMIC, FIXED = "padded to the longest", f"padded to {PADDED_WORDS}"


@dataclass(frozen=True)
class StepKind:
    """A kind of training step.

    Attributes:
        name: name of the result.
        title: title of the result.
        work: a sentence that describes the batch.
        make_batch: makes the batch; see `generate_batch`.
        operations: counts its operations; see `training_operations`.
        sizes: non-default sizes of the full-size configuration.
        goals: wanted speed-up over the peer, by dtype.
    """

    name: str
    title: str
    work: str
    make_batch: Callable[..., Batch]
    operations: Callable[..., int]
    sizes: Mapping[str, int]
    goals: Mapping[str, float]


PRETRAINING = StepKind(
    "training_step",
    "A pre-training step",
    "15 % of words and objects masked, all objects named, every third sentence a question.",
    generate_batch,
    training_operations,
    sizes={},
    goals={"float32": 1.5, "bfloat16": 1.8},
)
FINETUNING = StepKind(
    "finetuning_step",
    "A fine-tuning step",
    "Each sentence is a question with one answer.",
    generate_answering_batch,
    finetuning_operations,
    sizes={"num_qa_labels": VQA_ANSWERS},
    goals={},
)


def main(arguments: list[str]) -> None:
    common = parse_options(_parser(), arguments, "training_step.py")
    args = common.args
    if common.device == "cpu":
        # Our trainer's process-wide setting; here it applies to the peer too.
        keep_freed_memory()
    kind = FINETUNING if args.finetuning else PRETRAINING
    config = build_config(common.quick, **kind.sizes)
    batch = kind.make_batch(config, args.batch or (4 if common.quick else 32), device=common.device)
    fixed = kind.make_batch(config, len(batch.pairs), length=PADDED_WORDS, device=common.device)
    ours = our_model(config, args.attention, common.device, finetuning=args.finetuning).to(common.device)
    ours_step, peer_step = (
        Step(ours, is_ours=True),
        Step(peer_model(ours).to(common.device), is_ours=False),
    )
    notes = [_compare_losses(ours_step, peer_step, batch.inputs)]
    sides = keep_working_sides(_sides(ours_step, peer_step, batch.inputs, fixed.inputs, args.compiled), notes)
    rates = GemmRates(common.device, quick=common.quick)
    timings = time_alternating(
        {"matrix products": rates.measure} | sides, common.rounds, device=common.device
    )
    del timings["matrix products"]
    operations = kind.operations(config, batch.pairs)
    words = sum(pair[0] for pair in batch.pairs) / len(batch.pairs)
    result = Result(
        name=kind.name if common.device == "cpu" else f"{kind.name}_{common.device}",
        title=kind.title,
        about=f"{len(batch.pairs)} sentence-image pairs with {words:.1f} word pieces on average (the longest "
        f"has {batch.inputs['input_ids'].shape[1]}) and 36 objects; {operations / 1e9:,.0f} GFLOP are "
        f"needed, forward and backward. {kind.work} "
        f"Medians of {common.rounds} rounds in turns in one process. Ours is as the "
        f"trainer calls it, with {ours.config._attn_implementation} attention."
        + _describe_process_settings(common.device),
        command=common.command,
        machine=machine_info(common.device),
        gemm=rates.to_dict(),
        settings={"batch": len(batch.pairs), "rounds": common.rounds, "operations": operations},
        raw=timings,
        notes=notes,
    )
    result.tables.append(_table(timings, operations, rates, len(batch.pairs)))
    result.goals += [_goal(timings, dtype, goal, operations, rates) for dtype, goal in kind.goals.items()]
    result.write(common.results)


def _describe_process_settings(device: str) -> str:
    """Describe the process-wide settings that both sides share."""
    if device != "cpu":
        return ""
    description = " The process keeps freed memory, as under our trainer, for both sides"
    found = [f"{name}={os.environ[name]}" for name in MEMORY_VARIABLES if name in os.environ]
    return f"{description}; {' '.join(found)}." if found else f"{description}."


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__, ROUNDS, on_gpu=True)
    parser.add_argument(
        "--finetuning", action="store_true", help="measure fine-tuning instead of pre-training"
    )
    parser.add_argument("--batch", type=int, help="sentence-image pairs (32)")
    parser.add_argument(
        "--attention", choices=("sdpa", "eager"), help="attention of ours; by default the recipe's"
    )
    parser.add_argument(
        "--compiled", action="store_true", help="also measure ours compiled, which takes minutes"
    )
    return parser


def _sides(
    ours: Step, peer: Step, inputs: Mapping[str, Any], fixed: Mapping[str, Any], with_compiled: bool
) -> dict[str, Side]:
    """Return one step by name of the side; a compiled step shares our model, but has its own optimiser."""
    compiled = None
    if with_compiled:
        compiled = Step(ours.model, is_ours=True, forward=torch.compile(ours.model))
    sides: dict[str, Side] = {}
    for dtype in DTYPES:
        rows = {
            _peer(dtype, DYNAMIC): (peer, inputs),
            _peer(dtype, FIXED): (peer, fixed),
            f"ours, {dtype}": (ours, inputs),
        }
        if compiled is not None:
            rows[f"ours, {dtype}, compiled"] = (compiled, inputs)
        for name, (step, args) in rows.items():
            sides[name] = lambda step=step, args=args, dtype=dtype: step.run(args, dtype)
    return sides


def _peer(dtype: str, padding: str) -> str:
    return f"transformers, {dtype}, {padding}"


def _compare_losses(ours: Step, peer: Step, inputs: Mapping[str, Any]) -> str:
    """Compare both sides' losses of the batch without dropout, to show that the work is the same."""
    found = []
    for step in (ours, peer):
        step.model.eval()
        with torch.no_grad():
            found.append(step.loss(inputs).item())
        step.model.train()
    return f"The first loss without dropout, float32: ours {found[0]:.5f}, the peer's {found[1]:.5f}."


def _table(timings: Mapping[str, list[float]], operations: int, rates: GemmRates, pairs: int) -> Table:
    rows = []
    for name, seconds in timings.items():
        dtype = dtype_of(name)
        times, worst, best = ratios(timings[_peer(dtype, DYNAMIC)], seconds)
        share = operations / median(seconds) / rates.limit(dtype)
        rows.append(
            (name, f"{median(seconds):.3f}", f"{pairs / median(seconds):.1f}",
             f"{times:.2f} ({worst:.2f} to {best:.2f})", f"{share:.1%}")
        )  # fmt: skip
    columns = (
        "side",
        "seconds",
        "pairs/s",
        "times the peer in this dtype (each round)",
        "share of the limit",
    )
    return Table("The step", columns, rows)


def _goal(
    timings: Mapping[str, list[float]], dtype: str, goal: float, operations: int, rates: GemmRates
) -> Goal:
    """Return the goal of our side as the trainer runs it by default."""
    name = f"ours, {dtype}"
    times, _, _ = ratios(timings[_peer(dtype, DYNAMIC)], timings[name])
    fixed_times, _, _ = ratios(timings[_peer(dtype, FIXED)], timings[name])
    share = operations / median(timings[name]) / rates.limit(dtype)
    work = f"pre-training step, {dtype}, equal batch, same texts"
    measured = f"{times:.2f}× ({fixed_times:.2f}× of texts padded to {PADDED_WORDS})"
    return Goal(work, f"{goal}×", measured, times >= goal, share)


if __name__ == "__main__":
    main(sys.argv[1:])

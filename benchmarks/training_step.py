"""A pre-training step of all five tasks against `transformers`' LXMERT.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/training_step.py`. Both
sides have the same first weights (full size, 9/5/5 layers of width 768) and the same batch; a step is
forward, backward, clipping of gradients and AdamW in one kernel, in float32 and under bfloat16 autocast. The
peer pads texts to the longest of the batch (the row that counts), and to 20 words as users of the original
code do. Its attention is eager, the only one it has for LXMERT, and nothing of it is compiled.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from measuring.gemm import GemmRates
from measuring.machine import facts
from measuring.models import config_of
from measuring.options import parsed, parser_of
from measuring.results import Goal, Result, Table
from measuring.rounds import Side, in_turns, ratios, usable
from measuring.settings import dtype_of
from measuring.training import PADDED_WORDS, Step, made_batch, our_model, peer_model
from measuring.work import training_operations

from lxmert.training.cpu.memory import keep_freed_memory

ROUNDS = 5
GOALS = {"float32": 1.5, "bfloat16": 1.8}
MEMORY_VARIABLES = ("GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE")
"""Settings of memory that a user may give beside; they count for both sides."""
DYNAMIC, FIXED = "padded to the longest", f"padded to {PADDED_WORDS}"


def main(arguments: list[str]) -> None:
    common = parsed(_parser(), arguments, "training_step.py")
    given = common.given
    if common.device == "cpu":
        # Our trainer's setting of the process; it is the peer's too here.
        keep_freed_memory()
    config = config_of(common.quick)
    batch = made_batch(config, given.batch or (4 if common.quick else 32), device=common.device)
    fixed = made_batch(config, len(batch.pairs), length=PADDED_WORDS, device=common.device)
    ours = our_model(config, given.attention, common.device).to(common.device)
    ours_step, peer_step = (
        Step(ours, is_ours=True),
        Step(peer_model(ours).to(common.device), is_ours=False),
    )
    notes = [_losses_compared(ours_step, peer_step, batch.inputs)]
    sides = usable(_sides(ours_step, peer_step, batch.inputs, fixed.inputs, given.compiled), notes)
    rates = GemmRates(common.device, quick=common.quick)
    taken = in_turns({"matrix products": rates.measure} | sides, common.rounds, device=common.device)
    del taken["matrix products"]
    operations = training_operations(config, batch.pairs)
    words = sum(pair[0] for pair in batch.pairs) / len(batch.pairs)
    result = Result(
        name="training_step" if common.device == "cpu" else f"training_step_{common.device}",
        title="A pre-training step",
        about=f"{len(batch.pairs)} sentence-image pairs with {words:.1f} word pieces on average (the longest "
        f"has {batch.inputs['input_ids'].shape[1]}) and 36 objects; {operations / 1e9:,.0f} GFLOP are "
        "needed, forward and backward. 15 % of words and objects masked, all objects named, every third "
        f"sentence a question. Medians of {common.rounds} rounds in turns in one process. Ours is as the "
        f"trainer calls it, with {ours.config._attn_implementation} attention."
        + _process_told(common.device),
        command=common.command,
        machine=facts(common.device),
        gemm=rates.told(),
        settings={"batch": len(batch.pairs), "rounds": common.rounds, "operations": operations},
        raw=taken,
        notes=notes,
    )
    result.tables.append(_table(taken, operations, rates, len(batch.pairs)))
    result.goals += [_goal(taken, dtype, operations, rates) for dtype in GOALS]
    result.write(common.results)


def _process_told(device: str) -> str:
    """Settings of the process that both sides share."""
    if device != "cpu":
        return ""
    told = " The process keeps freed memory, as under our trainer, for both sides"
    found = [f"{name}={os.environ[name]}" for name in MEMORY_VARIABLES if name in os.environ]
    return f"{told}; {' '.join(found)}." if found else f"{told}."


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, ROUNDS, on_gpu=True)
    parser.add_argument("--batch", type=int, help="sentence-image pairs (32)")
    parser.add_argument("--attention", choices=("sdpa", "eager"), help="ours; by default the recipe's")
    parser.add_argument("--compiled", action="store_true", help="ours compiled too, which takes minutes")
    return parser


def _sides(
    ours: Step, peer: Step, inputs: Mapping[str, Any], fixed: Mapping[str, Any], with_compiled: bool
) -> dict[str, Side]:
    """Name to one step; a compiled step shares our model, and has an optimiser of its own."""
    compiled = None
    if with_compiled:
        compiled = Step(ours.model, is_ours=True, forward=torch.compile(ours.model))
    sides: dict[str, Side] = {}
    for dtype in GOALS:
        rows = {
            _peer(dtype, DYNAMIC): (peer, inputs),
            _peer(dtype, FIXED): (peer, fixed),
            f"ours, {dtype}": (ours, inputs),
        }
        if compiled is not None:
            rows[f"ours, {dtype}, compiled"] = (compiled, inputs)
        for name, (step, given) in rows.items():
            sides[name] = lambda step=step, given=given, dtype=dtype: step.run(given, dtype)
    return sides


def _peer(dtype: str, padding: str) -> str:
    return f"transformers, {dtype}, {padding}"


def _losses_compared(ours: Step, peer: Step, inputs: Mapping[str, Any]) -> str:
    """Both sides' loss of the batch, without dropout: that the work is the same."""
    found = []
    for step in (ours, peer):
        step.model.eval()
        with torch.no_grad():
            found.append(step.loss(inputs).item())
        step.model.train()
    return f"The first loss without dropout, float32: ours {found[0]:.5f}, the peer's {found[1]:.5f}."


def _table(taken: Mapping[str, list[float]], operations: int, rates: GemmRates, pairs: int) -> Table:
    rows = []
    for name, seconds in taken.items():
        dtype = dtype_of(name)
        times, worst, best = ratios(taken[_peer(dtype, DYNAMIC)], seconds)
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


def _goal(taken: Mapping[str, list[float]], dtype: str, operations: int, rates: GemmRates) -> Goal:
    """Our side as the trainer runs it by default."""
    name = f"ours, {dtype}"
    times, _, _ = ratios(taken[_peer(dtype, DYNAMIC)], taken[name])
    padded_too, _, _ = ratios(taken[_peer(dtype, FIXED)], taken[name])
    share = operations / median(taken[name]) / rates.limit(dtype)
    work = f"pre-training step, {dtype}, equal batch, same texts"
    measured = f"{times:.2f}× ({padded_too:.2f}× of texts padded to {PADDED_WORDS})"
    return Goal(work, f"{GOALS[dtype]}×", measured, times >= GOALS[dtype], share)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Peak memory of the question stream and of a pre-training step, compared with `transformers`' LXMERT.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/memory.py`. Every figure
is measured in a separate process that runs one side only: its peak resident memory (VmHWM), and the
difference to its memory after the imports. Workloads and settings are those of stream.py and
training_step.py; both sides create the model in the dtype used for answering.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping

import torch
import transformers
from measuring.answering import our_scores, peer_scores
from measuring.models import DTYPES, VQA_ANSWERS, build_config, peer_config
from measuring.options import CommonOptions, build_parser, parse_options
from measuring.process_memory import current_bytes, peak_bytes
from measuring.results import Goal, Result, Table
from measuring.streams import generate_stream
from measuring.timing import log
from measuring.training import PADDED_WORDS, Step, generate_batch, our_model

from lxmert import LxmertForQuestionAnswering
from lxmert.inference.fast_model import FastModel, fast_dtype

STREAM, STEP = "stream", "training step"
STEPS = 3
"""From the second step on the optimiser's state exists; the third is like all later ones."""
OURS, PEER, PEER_FIXED = "ours", "transformers", f"transformers, padded to {PADDED_WORDS}"
BEST = "best setting"


def main(arguments: list[str]) -> None:
    common = parse_options(_parser(), arguments, "memory.py")
    if common.args.alone is not None:
        work, side, dtype = common.args.alone
        print(json.dumps(_measure_in_this_process(work, side, dtype, common)))
        return
    cases = [(work, side, dtype) for dtype in DTYPES for work in (STREAM, STEP) for side in (PEER, OURS)]
    cases += [(STEP, PEER_FIXED, dtype) for dtype in DTYPES]
    if not common.args.no_compile:
        cases.append((STREAM, OURS, BEST))
    found = {}
    for case in cases:
        found[case] = _run_in_subprocess(case, common)
        log(f"{', '.join(case)}: {found[case]['peak'] / 2**30:.2f} GiB")
    result = Result(
        name="memory",
        title="Peak memory of the stream and of a pre-training step",
        about="Each figure is from a process of its own: the most memory that it ever held (VmHWM), and what "
        "that is above the memory after its imports, in GiB. The model is made in the dtype that it answers "
        "in; training keeps weights, gradients and AdamW's two moments in float32 on both sides. "
        f"{STREAM}: {_questions(common)} questions as in stream.py; {STEP}: {STEPS} steps of "
        "training_step.py's batch.",
        command=common.command,
        settings={"steps": STEPS},
        raw={", ".join(case): sizes for case, sizes in found.items()},
        notes=[f"`{BEST}` is dtype auto, compiled: what the compiler itself takes is in its peak."]
        if (STREAM, OURS, BEST) in found
        else [],
    )
    result.tables.append(_table(found))
    result.goals += [_goal(found, work, dtype) for work in (STREAM, STEP) for dtype in DTYPES]
    result.write(common.results)


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__, 1)
    parser.add_argument("--questions", type=int, help="questions of the stream (200)")
    parser.add_argument("--images", type=int, help="images of the stream (37)")
    parser.add_argument("--batch", type=int, help="sentence-image pairs of a step (32)")
    parser.add_argument("--no-compile", action="store_true", help="omit the compiled default")
    parser.add_argument("--alone", nargs=3, metavar=("WORK", "SIDE", "DTYPE"), help=argparse.SUPPRESS)
    return parser


def _questions(common: CommonOptions) -> int:
    return common.args.questions or (20 if common.quick else 200)


def _run_in_subprocess(case: tuple[str, str, str], common: CommonOptions) -> dict[str, int]:
    args = common.args
    options = ["--threads", str(args.threads), *(["--quick"] if common.quick else [])]
    for name in ("questions", "images", "batch"):
        if getattr(args, name) is not None:
            options += [f"--{name}", str(getattr(args, name))]
    command = [sys.executable, "-W", "ignore", __file__, *options, "--alone", *case]
    completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(completed.stdout)


def _measure_in_this_process(work: str, side: str, dtype: str, common: CommonOptions) -> dict[str, int]:
    """Do the work in this process, and return its memory in bytes."""
    args, before = common.args, current_bytes()
    if work == STREAM:
        config = build_config(common.quick, num_qa_labels=VQA_ANSWERS)
        stream = generate_stream(config, _questions(common),
                                 args.images or (4 if common.quick else 37))  # fmt: skip
        if side == OURS:
            chosen = fast_dtype(torch.device("cpu")) if dtype == BEST else DTYPES[dtype]
            model = LxmertForQuestionAnswering._from_config(config, dtype=chosen)
            is_compiled = dtype == BEST
            fast = FastModel(model, dtype="auto" if is_compiled else dtype, compiled=is_compiled)
            our_scores(fast, stream)
        else:
            kind = transformers.LxmertForQuestionAnswering
            peer_scores(kind._from_config(peer_config(config), dtype=DTYPES[dtype]).eval(), stream)
    else:
        config = build_config(common.quick)
        length = PADDED_WORDS if side == PEER_FIXED else None
        batch = generate_batch(config, args.batch or (4 if common.quick else 32), length=length)
        if side == OURS:
            model = our_model(config)
        else:
            model = transformers.LxmertForPreTraining(peer_config(config)).train()
        step = Step(model, is_ours=side == OURS)
        for _ in range(STEPS):
            step.run(batch.inputs, dtype)
    return {"peak": peak_bytes(), "after_imports": before}


def _above_imports(sizes: Mapping[str, int]) -> int:
    return sizes["peak"] - sizes["after_imports"]


def _table(found: Mapping[tuple[str, str, str], Mapping[str, int]]) -> Table:
    rows = [
        (f"{work}, {dtype}, {side}", f"{sizes['peak'] / 2**30:.2f}", f"{_above_imports(sizes) / 2**30:.2f}")
        for (work, side, dtype), sizes in sorted(found.items())
    ]
    return Table("Peak memory", ("work", "peak, GiB", "above the imports, GiB"), rows)


def _goal(found: Mapping[tuple[str, str, str], Mapping[str, int]], work: str, dtype: str) -> Goal:
    ours, peer = (_above_imports(found[work, side, dtype]) / 2**30 for side in (OURS, PEER))
    return Goal(
        f"peak memory of the {work}, {dtype}",
        "below `transformers`",
        f"{ours:.2f} GiB against {peer:.2f} GiB ({ours / peer:.0%})",
        ours < peer,
    )


if __name__ == "__main__":
    main(sys.argv[1:])

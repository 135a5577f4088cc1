"""Answering a VQA-like stream of questions about images, compared with `transformers`' LXMERT.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/stream.py`. Both sides
have the same random weights (full size, 9/5/5 layers of width 768, 3,129 answers) and answer the same
questions; lengths and questions per image are VQA's (`measuring/streams.py`). The peer is `transformers`'
LXMERT as a careful user runs it: batches of 64 in the caller's order, padded to their longest question,
`inference_mode`, equal dtype, no compilation; its attention is eager, the only implementation it has for
LXMERT. With --scenes-data and --features the embedded trained model also answers questions about made scenes,
and the answers are compared.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from measuring.answering import PEER_BATCH, answer_agreement, our_scores, peer_scores
from measuring.gemm import GemmRates
from measuring.machine import machine_info
from measuring.models import (
    DTYPES,
    VQA_ANSWERS,
    build_answering_pair,
    build_config,
    build_peer,
    copy_in_dtype,
)
from measuring.onnx_peer import onnx_sides
from measuring.options import CommonOptions, build_parser, parse_options
from measuring.results import Goal, Result, Table
from measuring.settings import PEERS, best_side, dtype_of, fast_models
from measuring.streams import Stream, generate_stream, load_scenes_stream
from measuring.timing import keep_working_sides, log, ratios, time_alternating
from measuring.work import stream_operations

from lxmert import LxmertConfig, LxmertForQuestionAnswering, LxmertTokenizerFast
from lxmert.inference.models import locate_model

ROUNDS = 7
GOALS = {"float32": (2.0, 0.70), "bfloat16": (2.5, 0.50)}
DEFAULT_GOAL, EQUAL_GOAL = 10.0, 0.995

Answering = Callable[[Stream], torch.Tensor]


def main(arguments: list[str]) -> None:
    common = parse_options(_parser(), arguments, "stream.py")
    args = common.args
    config = build_config(common.quick, num_qa_labels=VQA_ANSWERS)
    stream = generate_stream(config, args.questions or (20 if common.quick else 600),
                             args.images or (4 if common.quick else 111))  # fmt: skip
    scenes = _scenes(args)
    ours, peer = build_answering_pair(config)
    sides, notes = _sides(ours, peer, common)
    scores: dict[str, torch.Tensor] = {}
    rates = GemmRates(common.device, quick=common.quick)
    is_exported = common.device == "cpu" and not args.no_export
    with onnx_sides(ours if is_exported else None, notes) as exported:
        sides = keep_working_sides(sides | exported, notes, stream)

        def run(name: str) -> Callable[[], None]:
            return lambda: scores.__setitem__(name, sides[name](stream))

        timed = {"matrix products": rates.measure} | {name: run(name) for name in sides}
        timings = time_alternating(timed, common.rounds, device=common.device)
    del timings["matrix products"]
    operations = stream_operations(config, *stream.work)
    result = Result(
        name="stream" if common.device == "cpu" else f"stream_{common.device}",
        title="A stream of questions about images",
        about=_about(stream, common, operations),
        command=common.command,
        machine=machine_info(common.device),
        gemm=rates.to_dict(),
        settings={"questions": len(stream), "images": len(stream.visual_feats), "rounds": common.rounds,
                  "operations": operations},
        raw=timings,
        notes=notes,
    )  # fmt: skip
    equal = {name: answer_agreement(found, scores[PEERS["float32"]]) for name, found in scores.items()}
    result.tables.append(_table(timings, equal, operations, rates, len(stream)))
    trained = _trained(scenes, common, result)
    result.goals += _goals(timings, equal, trained, operations, rates, common.device)
    result.write(common.results)


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__, ROUNDS, on_gpu=True)
    parser.add_argument("--questions", type=int, help="questions of the stream (600)")
    parser.add_argument("--images", type=int, help="images of the stream (111)")
    parser.add_argument("--no-compile", action="store_true", help="omit compiled models")
    parser.add_argument("--no-export", action="store_true", help="omit ONNX Runtime")
    parser.add_argument("--scenes-data", type=Path, help="folder of made scenes, to compare trained answers")
    parser.add_argument("--features", type=Path, help="feature store of the scenes' images")
    parser.add_argument("--scenes-questions", type=int, default=2000, help="number of these questions (2000)")
    return parser


def _sides(ours: Any, peer: Any, common: CommonOptions) -> tuple[dict[str, Answering], list[str]]:
    """Return the sides by name, and notes on omitted ones."""
    sides: dict[str, Answering] = {}
    for dtype, name in PEERS.items():
        model = copy_in_dtype(peer, DTYPES[dtype]).to(common.device)
        sides[name] = lambda stream, model=model: peer_scores(model, stream)
    models, notes = fast_models(ours, common.device, with_compiled=not common.args.no_compile)
    for name, fast in models.items():
        sides[name] = lambda stream, fast=fast: our_scores(fast, stream)
    return sides, notes


def _table(
    timings: Mapping[str, list[float]],
    equal: Mapping[str, float],
    operations: int,
    rates: GemmRates,
    questions: int,
) -> Table:
    slowest = timings[PEERS["float32"]]
    rows = []
    for name, seconds in timings.items():
        times, worst, best = ratios(slowest, seconds)
        share = operations / median(seconds) / rates.limit(dtype_of(name))
        rows.append(
            (name, f"{median(seconds):.3f}", f"{questions / median(seconds):.1f}",
             f"{times:.2f} ({worst:.2f} to {best:.2f})", f"{share:.1%}", f"{equal[name]:.1%}")
        )  # fmt: skip
    columns = ("side", "seconds", "questions/s", "times its default (each round)", "share of the limit",
               "same answers as its default")  # fmt: skip
    return Table("The stream, random weights", columns, rows)


def _goals(
    timings: Mapping[str, list[float]],
    equal: Mapping[str, float],
    trained: Mapping[str, float],
    operations: int,
    rates: GemmRates,
    device: str,
) -> list[Goal]:
    goals = []
    for dtype, (times_goal, share_goal) in GOALS.items():
        name = _fastest(timings, dtype)
        times, _, _ = ratios(timings[PEERS[dtype]], timings[name])
        share = operations / median(timings[name]) / rates.limit(dtype)
        work = f"VQA stream, {dtype} against `transformers` {dtype}"
        goals.append(Goal(work, f"{times_goal}×", f"{times:.2f}×", times >= times_goal, share, name))
        goals.append(
            Goal(f"share of the GEMM limit on the stream, {dtype}", f"{share_goal:.0%}", f"{share:.1%}",
                 share >= share_goal, share, name)
        )  # fmt: skip
    agreeing = [side for side in timings if side.startswith("ours") and trained.get(side, 0.0) >= EQUAL_GOAL]
    # Without answers of a trained model, the setting that `dtype="auto", compiled=True` resolves to.
    name = min(agreeing, key=lambda side: median(timings[side])) if agreeing else best_side(timings, device)
    times, _, _ = ratios(timings[PEERS["float32"]], timings[name])
    share = operations / median(timings[name]) / rates.limit(dtype_of(name))
    same = trained.get(name, equal[name])
    whose = "the embedded trained model" if name in trained else "random weights"
    goals.append(
        Goal("VQA stream, our best setting against `transformers`' default",
             f"{DEFAULT_GOAL:.0f}×, answers equal in {EQUAL_GOAL:.1%}",
             f"{times:.2f}×, {same:.2%} equal ({whose})",
             times >= DEFAULT_GOAL and same >= EQUAL_GOAL, share, name)
    )  # fmt: skip
    return goals


def _fastest(timings: Mapping[str, list[float]], dtype: str) -> str:
    ours = [name for name in timings if name.startswith(f"ours, {dtype}")]
    return min(ours, key=lambda name: median(timings[name]))


def _scenes(args: argparse.Namespace) -> Stream | None:
    """Read the questions about made scenes, if given: before the long work, so that errors show early."""
    if args.scenes_data is None or args.features is None:
        return None
    folder = locate_model("scenes")
    tokenizer = LxmertTokenizerFast.from_pretrained(folder)
    max_words = LxmertConfig.from_pretrained(folder).max_position_embeddings
    return load_scenes_stream(args.scenes_data, args.features, tokenizer, max_words, args.scenes_questions)


def _trained(stream: Stream | None, common: CommonOptions, result: Result) -> dict[str, float]:
    """Return the embedded model's fraction of equal answers by side; empty without questions about scenes."""
    if stream is None:
        result.notes.append(
            "Answers of a trained model: not compared; give --scenes-data and --features for that. Of random "
            "weights many answers score nearly alike, so that rounding turns some of them round."
        )
        return {}
    ours = LxmertForQuestionAnswering.from_pretrained(locate_model("scenes")).eval()
    peer = build_peer(ours, transformers.LxmertForQuestionAnswering).eval()
    sides, notes = _sides(ours, peer, common)
    sides = keep_working_sides(sides, notes, stream)
    log(f"the embedded model answers {len(stream):,} questions on {len(sides)} sides")
    scores = {name: side(stream) for name, side in sides.items()}
    equal = {name: answer_agreement(found, scores[PEERS["float32"]]) for name, found in scores.items()}
    result.tables.append(
        Table(
            f"Answers of the embedded trained model to {len(stream):,} questions about "
            f"{len(stream.visual_feats):,} made scenes",
            ("side", "same answers as its default"),
            [(name, f"{share:.2%}") for name, share in equal.items()],
        )
    )
    return equal


def _about(stream: Stream, common: CommonOptions, operations: int) -> str:
    lengths = [len(ids) for ids in stream.token_ids]
    return (
        f"{len(stream)} questions of {sum(lengths) / len(lengths):.1f} word pieces (6 to 18) about "
        f"{len(stream.visual_feats)} images of 36 objects, {len(stream) / len(stream.visual_feats):.1f} "
        f"questions an image, in the order of VQA's files; {operations / 1e9:,.0f} GFLOP are needed. Medians "
        f"of {common.rounds} rounds in turns in one process. The peer answers in batches of {PEER_BATCH} in "
        "the caller's order, padded to their longest question, in `inference_mode`, with eager attention, "
        "the only one it has. Ours is the engine of bulk answering: every image once, like lengths together. "
        "What is needed leaves padding out, takes what depends on an image alone once per image, and of the "
        "last cross-modality layer the row of [CLS] (`benchmarks/measuring/work.py`)."
    )


if __name__ == "__main__":
    main(sys.argv[1:])

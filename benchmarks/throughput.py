"""Pre-training throughput including the loader, compared with `transformers`' LXMERT. Intended for a GPU.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/throughput.py --device
cuda`. Batches of all five tasks come from a feature store in a temporary folder through the loader that
training uses (texts of similar length together, several processes, pinned memory); both sides use the same
loader settings, bfloat16 autocast, and fused AdamW. A turn begins with as many unmeasured steps as the loader
may have prefetched. The peer is not compiled; its attention is eager, the only implementation it has.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measuring.gemm import GemmRates
from measuring.machine import machine_info
from measuring.models import build_config
from measuring.options import CommonOptions, build_parser, parse_options
from measuring.results import Goal, Result, Table
from measuring.streams import LENGTHS, histogram_quantiles
from measuring.timing import log, ratios, seconds_of
from measuring.training import PADDED_WORDS, Step, our_model, peer_model, to_device
from measuring.work import LabelCounts, training_operations
from opening import write_store
from torch.utils.data import DataLoader

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.feature_store import FeatureStore
from lxmert.data.image_text import ImageText
from lxmert.data.pretraining_dataset import PretrainingCollator, PretrainingDataset
from lxmert.data.region_source import open_regions
from lxmert.tokenization import LxmertTokenizerFast
from lxmert.training.sampling import DrawSampler, ShuffledSampler

ROUNDS = 3
PEER = "transformers, bfloat16"
# Paper, section 4.1 and table 1.
EPOCHS, EXAMPLES = 20, 9_180_000
GOAL_PAIRS, GOAL_SHARE, GOAL_TIMES = 12_000, 0.40, 2.0
SENTENCES_PER_IMAGE = 50
MeasuredBatches = list[dict[str, torch.Tensor]]


def main(arguments: list[str]) -> None:
    common = parse_options(_parser(), arguments, "throughput.py")
    args = common.args
    size = args.batch or (4 if common.quick else 256)
    steps = args.steps or (2 if common.quick else 50)
    config = build_config(common.quick)
    ours = our_model(config, device=common.device).to(common.device)
    peer = peer_model(ours).to(common.device)
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), args.images or (4 if common.quick else 2000), config.visual_feat_dim)
        dataset = _dataset(Path(folder), config)
        sides = {PEER: Turn(Step(peer, is_ours=False), _batches(dataset, size, args.workers), common, steps)}
        sides["ours, bfloat16"] = Turn(
            Step(ours, is_ours=True), _batches(dataset, size, args.workers), common, steps
        )
        if args.compiled:
            step = Step(ours, is_ours=True, forward=torch.compile(ours))
            sides["ours, bfloat16, compiled"] = Turn(
                step, _batches(dataset, size, args.workers), common, steps
            )
        rates = GemmRates(common.device, ("bfloat16",), quick=common.quick)
        timings: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(common.rounds):
            rates.measure()
            for name, turn in sides.items():
                timings[name].append(turn.seconds())
                log(f"round {number + 1}: {name}, {size * steps / timings[name][-1]:,.0f} pairs/s")
    _result(common, timings, sides, rates, size * steps, config).write(common.results)


def _parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__, ROUNDS, on_gpu=True)
    parser.add_argument("--batch", type=int, help="sentence-image pairs of a step (256)")
    parser.add_argument("--steps", type=int, help="measured steps of a turn (50)")
    parser.add_argument("--images", type=int, help="images of the feature store (2,000)")
    parser.add_argument(
        "--workers",
        type=int,
        default=min(14, max(1, (os.cpu_count() or 2) - 2)),
        help="loader processes (two less than cores, 14 at most)",
    )
    parser.add_argument("--compiled", action="store_true", help="also measure ours compiled")
    return parser


class Turn:
    """Steps of one side, including loading of the batches.

    Args:
        step: runs a training step.
        batches: an endless iterator.
        common: the shared options, with the device.
        steps: measured steps per turn.

    Attributes:
        measured_batches: words and labels of the last turn's measured batches.
    """

    def __init__(self, step: Step, batches: Iterator[Any], common: CommonOptions, steps: int) -> None:
        self._step = step
        self._batches = batches
        self._device = common.device
        self._steps = steps
        self._warmup_steps = 2 * common.args.workers + 2
        self.measured_batches: MeasuredBatches = []

    def seconds(self) -> float:
        """Run one turn and return its seconds."""
        self._run(self._warmup_steps)
        self.measured_batches = []
        return seconds_of(lambda: self._run(self._steps), self._device)

    def operations(self, config: Any) -> int:
        """Return the floating point operations of the last turn's measured steps."""
        return sum(training_operations(config, _pairs(batch)) for batch in self.measured_batches)

    def _run(self, steps: int) -> None:
        for batch in islice(self._batches, steps):
            self.measured_batches.append({name: batch[name] for name in ("attention_mask", "labels", "ans")}
                                         | {"masked": batch["obj_labels"]["feat"][1]})  # fmt: skip
            self._step.run(to_device(batch, self._device), "bfloat16")


def _pairs(batch: Mapping[str, torch.Tensor]) -> list[tuple[int, int, LabelCounts]]:
    """Return words, objects and labels of a batch's pairs; in the default recipe all objects are labelled."""
    objects = batch["masked"].shape[1]
    columns = (
        batch["attention_mask"].sum(dim=1),
        (batch["labels"] >= 0).sum(dim=1),
        batch["masked"].sum(dim=1).long(),
        batch["ans"] >= 0,
    )
    return [
        (words, objects, LabelCounts(hidden, objects, masked, objects, asked))
        for words, hidden, masked, asked in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _dataset(folder: Path, config: Any) -> PretrainingDataset:
    """Make a data set of made-up sentences about the images of a store, every third one a question."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"word{number}" for number in range(config.vocab_size - len(special))]
    tokenizer = LxmertTokenizerFast(vocab={word: n for n, word in enumerate([*special, *words])})
    answers = AnswerVocabulary([f"answer{number}" for number in range(config.num_qa_labels)])
    store, draw, texts = FeatureStore(folder), random.Random(0), []
    lengths = histogram_quantiles(LENGTHS, SENTENCES_PER_IMAGE)
    for name in store.names:
        for number, pieces in enumerate(lengths):
            sentence = " ".join(draw.choices(words, k=pieces - 2))
            answer = {f"answer{draw.randrange(config.num_qa_labels)}": 1.0} if number % 3 == 0 else None
            texts.append(ImageText(name, sentence, "made", answer))
    regions = open_regions(store, store.names, in_memory_bytes=0)
    return PretrainingDataset(texts, tokenizer, PADDED_WORDS, regions, answers)


def _batches(dataset: PretrainingDataset, size: int, workers: int) -> Iterator[Any]:
    """Yield batches endlessly, loaded as in training."""
    order = ShuffledSampler(dataset.lengths, size, 0, group_by_length=True)
    sampler = DrawSampler(order, size)
    loader = DataLoader(
        dataset,
        batch_size=size,
        sampler=sampler,
        collate_fn=PretrainingCollator(dataset),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def _result(
    common: CommonOptions,
    timings: Mapping[str, list[float]],
    sides: Mapping[str, Turn],
    rates: GemmRates,
    pairs: int,
    config: Any,
) -> Result:
    rows, limit = [], rates.limit("bfloat16")
    shares = {}
    for name, seconds in timings.items():
        rate = pairs / median(seconds)
        shares[name] = sides[name].operations(config) / median(seconds) / limit
        times, worst, best = ratios(timings[PEER], seconds)
        hours = EPOCHS * EXAMPLES / rate / 3600
        rows.append(
            (name, f"{rate:,.0f}", f"{times:.2f} ({worst:.2f} to {best:.2f})", f"{shares[name]:.1%}",
             f"{hours:,.1f}")
        )  # fmt: skip
    args = common.args
    result = Result(
        name=f"throughput_{common.device}",
        title="Pre-training throughput with the loader in the loop",
        about=f"{pairs:,} sentence-image pairs a turn, {common.rounds} turns of each side, medians; all five "
        "tasks, bfloat16 autocast, 36 objects, lengths of VQA's questions; loader with "
        f"{args.workers} processes on a feature store in float16. What is needed leaves padding and places "
        "without labels out. The last column is the time of the paper's "
        f"{EPOCHS} epochs of {EXAMPLES / 1e6:.2f} million pairs at this rate.",
        command=common.command,
        machine=machine_info(common.device),
        gemm=rates.to_dict(),
        settings={"pairs": pairs, "rounds": common.rounds, "workers": args.workers},
        raw=timings,
    )
    columns = ("side", "pairs/s", "times the peer (each round)", "share of the limit", "20 epochs, hours")
    result.tables.append(Table("Throughput", columns, rows))
    result.goals.append(_goal(timings, shares, pairs))
    return result


def _goal(timings: Mapping[str, list[float]], shares: Mapping[str, float], pairs: int) -> Goal:
    name = min((name for name in timings if name != PEER), key=lambda name: median(timings[name]))
    rate, (times, _, _) = pairs / median(timings[name]), ratios(timings[PEER], timings[name])
    return Goal(
        "pre-training throughput, bfloat16, loader in the loop",
        f"{GOAL_PAIRS:,} pairs/s, {GOAL_SHARE:.0%} of the limit, {GOAL_TIMES:.0f}× (one H200)",
        f"{rate:,.0f} pairs/s, {times:.2f}×",
        rate >= GOAL_PAIRS and shares[name] >= GOAL_SHARE and times >= GOAL_TIMES,
        shares[name],
        name,
    )


if __name__ == "__main__":
    main(sys.argv[1:])

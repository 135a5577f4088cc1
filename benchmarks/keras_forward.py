"""Forward time of the Keras models compared with the PyTorch ones, with the same CPU, weights and batch.

Prints the seconds of one batch of LxmertForQuestionAnswering in PyTorch (eager, inference mode) and of
TFLxmertForQuestionAnswering compiled with `tf.function`, without and with XLA, their ratios to PyTorch, and
the largest difference of the scores. The calls alternate and the median of each is reported, so that other
load affects all equally; under heavy load use one thread, since PyTorch's threads wait for each other.
Launch: python benchmarks/keras_forward.py [--batch 32] [--rounds 5] [--threads 2] [--small] [--output X.md]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import torch

from lxmert import LxmertConfig, LxmertForQuestionAnswering, TFLxmertForQuestionAnswering

WORDS, OBJECTS = 20, 36
SMALL = {
    "hidden_size": 96,
    "intermediate_size": 384,
    "l_layers": 2,
    "x_layers": 2,
    "r_layers": 2,
    "vocab_size": 999,
}


def generate_batch(size: int, config: LxmertConfig) -> dict[str, np.ndarray]:
    """Make sentences of 20 words, the last five padding, about 36 objects, as in the paper."""
    random = np.random.default_rng(0)
    mask = np.ones((size, WORDS), np.int32)
    mask[:, -5:] = 0
    return {
        "input_ids": random.integers(1, config.vocab_size, (size, WORDS), dtype=np.int32),
        "attention_mask": mask,
        "visual_feats": random.random((size, OBJECTS, config.visual_feat_dim), np.float32),
        "visual_pos": random.random((size, OBJECTS, config.visual_pos_dim), np.float32),
    }


def build_forward_calls(config: LxmertConfig, size: int) -> dict[str, Callable[[], np.ndarray]]:
    """Return forward passes by name; each returns the scores (B, C)."""
    inputs = generate_batch(size, config)
    original = LxmertForQuestionAnswering(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        original.save_pretrained(folder)
        model = TFLxmertForQuestionAnswering.from_pretrained(folder)
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    constants = {name: tf.constant(values) for name, values in inputs.items()}

    def run_torch() -> np.ndarray:
        with torch.inference_mode():
            return original(**tensors).question_answering_score.numpy()

    def compiled(**options: Any) -> Callable[[], np.ndarray]:
        function = tf.function(lambda inputs: model(inputs).question_answering_score, **options)
        return lambda: function(constants).numpy()

    return {
        "PyTorch": run_torch,
        "Keras, tf.function": compiled(),
        "Keras, tf.function(jit_compile=True)": compiled(jit_compile=True),
    }


def median_seconds(calls: dict[str, Callable[[], np.ndarray]], rounds: int) -> dict[str, float]:
    """Return the median time of each call; the calls alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--small", action="store_true", help="use a tiny model, to try the script")
    parser.add_argument("--output", type=Path, help="file to write the figures to as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    config = LxmertConfig(**(SMALL if args.small else {}))
    calls = build_forward_calls(config, args.batch)
    scores = {name: call() for name, call in calls.items()}  # compiles
    seconds = median_seconds(calls, args.rounds)
    rows = [
        f"| {name} | {seconds[name]:.3f} | {seconds[name] / seconds['PyTorch']:.2f} | "
        f"{abs(scores[name] - scores['PyTorch']).max():.1e} |"
        for name in calls
    ]
    text = "\n".join(
        [
            "# Forward pass: Keras against PyTorch",
            f"Command: `python benchmarks/keras_forward.py{' --small' if args.small else ''} "
            f"--batch {args.batch} --threads {args.threads}`",
            "",
            f"Batch {args.batch}, {WORDS} words, {OBJECTS} objects, float32;",
            f"median of {args.rounds} rounds, {args.threads} threads,",
            f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}",
            f"(torch {torch.__version__}, keras {keras.__version__}, tensorflow {tf.__version__}).",
            "",
            "| way | seconds | time relative to PyTorch | largest difference of scores |",
            "|---|--:|--:|--:|",
            *rows,
        ]
    )
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Command-line options that all benchmarks share."""

import argparse
import atexit
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lxmert.downloads import CACHE_VARIABLE
from measuring.results import QUICK_RESULTS, RESULTS, command_line

PATHS = ("--results", "--scenes-data", "--features")


@dataclass(frozen=True)
class CommonOptions:
    """The values of the shared options.

    Attributes:
        args: all options.
        quick: True for tiny models and workloads, to test that a benchmark runs.
        rounds: measured calls of each side.
        device: "cpu" or "cuda".
        results: folder for the results.
        command: the command to repeat the run, without paths.
    """

    args: argparse.Namespace
    quick: bool
    rounds: int
    device: str
    results: Path
    command: str


def build_parser(description: str | None, rounds: int, *, on_gpu: bool = False) -> argparse.ArgumentParser:
    """Make a parser with the shared options; with --device if the benchmark supports GPUs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny model and small workload")
    parser.add_argument("--rounds", type=int, help=f"measured rounds ({rounds}; 2 with --quick)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of torch threads")
    parser.add_argument("--results", type=Path, help="folder for the results")
    parser.set_defaults(usual_rounds=rounds, device="cpu")
    if on_gpu:
        parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


def parse_options(parser: argparse.ArgumentParser, arguments: Sequence[str], script: str) -> CommonOptions:
    """Parse arguments, set the threads, silence transformers, and keep compiled code for this run only."""
    args = parser.parse_args(arguments)
    use_temporary_compile_cache()
    torch.set_num_threads(args.threads)
    if "transformers" in sys.modules:
        sys.modules["transformers"].logging.set_verbosity_error()
    return CommonOptions(
        args=args,
        quick=args.quick,
        rounds=args.rounds or (2 if args.quick else args.usual_rounds),
        device=args.device,
        results=args.results or (QUICK_RESULTS if args.quick else RESULTS),
        command=command_line(script, arguments, PATHS),
    )


def use_temporary_compile_cache() -> None:
    """Cache compiled code, which is for random weights, until this process ends, shared with its children.

    A cache folder that the user set is kept.
    """
    if CACHE_VARIABLE not in os.environ:
        folder = TemporaryDirectory(prefix="lxmert-benchmarks-")
        atexit.register(folder.cleanup)
        os.environ[CACHE_VARIABLE] = folder.name

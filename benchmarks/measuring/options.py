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
class Common:
    """What the shared options say.

    Attributes:
        given: all options.
        quick: True for tiny models and works: whether it runs, not how fast.
        rounds: measured calls of each side.
        device: "cpu" or "cuda".
        results: folder of the results.
        command: how to run it again, without paths.
    """

    given: argparse.Namespace
    quick: bool
    rounds: int
    device: str
    results: Path
    command: str


def parser_of(description: str | None, rounds: int, *, on_gpu: bool = False) -> argparse.ArgumentParser:
    """A parser with the shared options; --device where the benchmark knows GPUs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model and little work")
    parser.add_argument("--rounds", type=int, help=f"measured rounds ({rounds}; 2 with --quick)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch")
    parser.add_argument("--results", type=Path, help="folder of the results")
    parser.set_defaults(usual_rounds=rounds, device="cpu")
    if on_gpu:
        parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str], script: str) -> Common:
    """Read the arguments, set the threads, silence transformers' notices, keep compiled code for this run."""
    given = parser.parse_args(arguments)
    keep_code_for_now()
    torch.set_num_threads(given.threads)
    if "transformers" in sys.modules:
        sys.modules["transformers"].logging.set_verbosity_error()
    return Common(
        given=given,
        quick=given.quick,
        rounds=given.rounds or (2 if given.quick else given.usual_rounds),
        device=given.device,
        results=given.results or (QUICK_RESULTS if given.quick else RESULTS),
        command=command_line(script, arguments, PATHS),
    )


def keep_code_for_now() -> None:
    """Keep compiled code, which is of random weights, until this process ends, for those that it starts too.

    Where the user names a folder, it stays there.
    """
    if CACHE_VARIABLE not in os.environ:
        folder = TemporaryDirectory(prefix="lxmert-benchmarks-")
        atexit.register(folder.cleanup)
        os.environ[CACHE_VARIABLE] = folder.name

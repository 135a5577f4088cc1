"""Runs all benchmarks of the summary one by one, each in a process of its own; used by `make bench`.

Run from the repository root: `.venv/bin/python benchmarks/run_all.py [--quick] [--only stream latency]`. Each
writes its page under benchmarks/results; at the end the summary of all goals is written and printed. On a
machine with an NVIDIA GPU, the stream and pre-training throughput are measured on it too. Other options are
passed to the benchmarks that have them.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from measuring.options import use_temporary_compile_cache
from measuring.results import QUICK_RESULTS, RESULTS, write_summary
from measuring.timing import log

FOLDER = Path(__file__).parent
BENCHMARKS = ("stream", "latency", "training_step", "memory", "opening", "startup")
ON_GPU = ("stream", "throughput")
_SCENES = ("stream",)
_COMPILES = ("stream", "latency", "memory")


def main(arguments: list[str]) -> None:
    args = _parser().parse_args(arguments)
    results = args.results or (QUICK_RESULTS if args.quick else RESULTS)
    chosen = [name for name in BENCHMARKS if args.only is None or name in args.only]
    use_temporary_compile_cache()
    failed = [name for name in chosen if not _run(name, _options(name, args, results))]
    if torch.cuda.is_available():
        for name in ON_GPU:
            if args.only is None or name in args.only:
                options = [*_options(name, args, results), "--device", "cuda"]
                failed += [] if _run(name, options) else [f"{name} on the GPU"]
    # The summary includes earlier results of benchmarks that do not run now.
    write_summary([*BENCHMARKS, *(f"{name}_cuda" for name in ON_GPU)], results)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny models and small workloads")
    parser.add_argument("--only", nargs="+", choices=sorted({*BENCHMARKS, *ON_GPU}), help="run only these")
    parser.add_argument("--threads", type=int, help="number of torch threads")
    parser.add_argument("--results", type=Path, help="folder for the results")
    parser.add_argument("--no-compile", action="store_true", help="omit compiled models")
    parser.add_argument("--scenes-data", type=Path, help="folder of made scenes, to compare trained answers")
    parser.add_argument("--features", type=Path, help="feature store of the scenes' images")
    return parser


def _options(name: str, args: argparse.Namespace, results: Path) -> list[str]:
    options = ["--results", str(results)]
    options += ["--quick"] if args.quick else []
    options += ["--threads", str(args.threads)] if args.threads else []
    options += ["--no-compile"] if args.no_compile and name in _COMPILES else []
    if name in _SCENES and args.scenes_data and args.features:
        options += ["--scenes-data", str(args.scenes_data), "--features", str(args.features)]
    return options


def _run(name: str, options: Sequence[str]) -> bool:
    """Run one; return whether it succeeded."""
    log(f"=== {name}")
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", str(FOLDER / f"{name}.py"), *options]
    completed = subprocess.run(command, check=False)
    log(
        f"=== {name}: {time.perf_counter() - start:.0f} s" + ("" if completed.returncode == 0 else ", failed")
    )
    return completed.returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])

"""How long the first things a person does take: import, help, demo. Prints Markdown.

Run from the repository root: `.venv/bin/python benchmarks/startup.py`. Each command runs several times in a
new process, the commands in turn; the median of the wall-clock seconds is given, beside a bare interpreter's.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

ROUNDS = 5
LXMERT = [sys.executable, "-m", "lxmert.cli.main"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass (for comparison)": [sys.executable, "-c", "pass"],
            "python -c 'import lxmert'": [sys.executable, "-c", "import lxmert"],
            "lxmert --help": [*LXMERT, "--help"],
            "lxmert demo": [*LXMERT, "demo", "--seed", "1", "--output", folder],
            "python -c 'import torch, transformers' (for comparison)": [
                sys.executable,
                "-c",
                "import torch, transformers; transformers.PreTrainedModel",
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - start)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "typer"))
    print(f"Median of {ROUNDS} runs; {os.cpu_count()} CPU cores, Python {platform.python_version()}")
    print(f"({versions}).\n")
    print("| command | seconds |\n|---|--:|")
    for name, values in seconds.items():
        print(f"| `{name}` | {statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()

"""Start-up time of the first commands of a user: import, help, demo.

Writes Markdown and JSON. Run from the repository root: `.venv/bin/python benchmarks/startup.py`. Each command
runs several times in a new process, the commands in turn; the median of the wall-clock seconds is reported,
compared with a bare interpreter and with importing the packages that any model needs.
"""

import subprocess
import sys
import tempfile
import time
from statistics import median

from measuring.machine import machine_info
from measuring.options import build_parser, parse_options
from measuring.results import Goal, Result, Table
from measuring.timing import log

ROUNDS = 5
LXMERT = [sys.executable, "-m", "lxmert.cli.main"]
BARE, IMPORT, HELP = "python -c pass", "python -c 'import lxmert'", "lxmert --help"
PEER = "python -c 'import torch, transformers'"


def main(arguments: list[str]) -> None:
    common = parse_options(build_parser(__doc__, ROUNDS), arguments, "startup.py")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            BARE: [sys.executable, "-c", "pass"],
            IMPORT: [sys.executable, "-c", "import lxmert"],
            HELP: [*LXMERT, "--help"],
            "lxmert demo": [*LXMERT, "demo", "--seed", "1", "--output", folder],
            PEER: [sys.executable, "-c", "import torch, transformers; transformers.PreTrainedModel"],
        }
        if common.quick:
            del commands["lxmert demo"], commands[PEER]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(common.rounds):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - start)
            log(f"round {number + 1} of {common.rounds}")
    medians = {name: median(values) for name, values in seconds.items()}
    result = Result(
        name="startup",
        title="Start-up",
        about=f"Medians of {common.rounds} rounds in turns, each command in a new process; seconds of the "
        "clock.",
        command=common.command,
        machine=machine_info(),
        settings={"rounds": common.rounds},
        raw=seconds,
        notes=[f"`{BARE}` and `{PEER}` are for comparison."],
    )
    rows = [(f"`{name}`", f"{value:.2f}") for name, value in medians.items()]
    result.tables.append(Table("Commands", ("command", "seconds"), rows))
    summary = ", ".join(
        f"`{name}` {medians[name]:.2f} s" for name in (IMPORT, HELP, "lxmert demo") if name in medians
    )
    result.goals.append(
        Goal("start-up", "no goal", summary, None, note=f"a bare interpreter {medians[BARE]:.2f} s")
    )
    result.write(common.results)


if __name__ == "__main__":
    main(sys.argv[1:])

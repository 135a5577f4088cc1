"""Results of a benchmark, written as Markdown and JSON, and compared with its goals."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measuring.machine import machine_info

RESULTS = Path(__file__).parents[1] / "results"
QUICK_RESULTS = Path(__file__).parents[2] / "build" / "benchmarks"
"""Folder for the files of quick runs: figures of tiny models are not results."""


@dataclass(frozen=True)
class Goal:
    """One line of the summary.

    Attributes:
        work: the workload.
        goal: the goal, in words.
        measured: the measurement, in words; None if it could not be measured.
        met: whether the goal is met; None if it could not be measured, or there is no goal.
        share: fraction of the machine's limit, 0..1; None if there is no limit.
        note: additional information.
    """

    work: str
    goal: str
    measured: str | None
    met: bool | None
    share: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a result.

    Attributes:
        title: heading above the table.
        columns: names of the columns; the first column has the names of the rows.
        rows: as many values as columns each.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def markdown(self) -> str:
        """Format the table, with numbers aligned to the right."""
        lines = [f"## {self.title}", "", f"| {' | '.join(self.columns)} |"]
        lines.append("|---|" + "--:|" * (len(self.columns) - 1))
        lines += [f"| {' | '.join(_shown(value) for value in row)} |" for row in self.rows]
        return "\n".join(lines)


@dataclass
class Result:
    """All results of one benchmark.

    Attributes:
        name: name of its files.
        title: title of its page.
        about: description of the work, in sentences.
        command: command to repeat it.
        tables: the figures.
        goals: lines of the summary.
        notes: additional information.
        machine: see `machine.machine_info`.
        gemm: see `GemmRates.to_dict`; empty if no limit applies.
        settings: sizes and options of the run.
        raw: seconds of every round, by side.
    """

    name: str
    title: str
    about: str
    command: str
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    machine: Mapping[str, Any] = field(default_factory=machine_info)
    gemm: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write `<name>.json` and `<name>.md`, and print the latter."""
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(content + "\n", encoding="utf-8")
        page = self.markdown()
        (folder / f"{self.name}.md").write_text(page, encoding="utf-8")
        print(page)

    def markdown(self) -> str:
        """Format the page."""
        parts = [f"# {self.title}", f"Command: `{self.command}`", self.about, machine_line(self.machine)]
        parts += [_gemm_line(dtype, rate) for dtype, rate in self.gemm.items()]
        parts += [table.markdown() for table in self.tables]
        parts += [goals_table(self.goals)] if self.goals else []
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(parts) + "\n"


def command_line(script: str, given: Sequence[str], private: Sequence[str]) -> str:
    """Return the command to repeat a run, without the values of the options `private`.

    Args:
        script: name of the script.
        given: its arguments.
        private: options whose values are local paths.
    """
    shown, hide = [], False
    for part in given:
        name, _, value = part.partition("=")
        if hide:
            shown.append("…")
        elif name in private and value:
            shown.append(f"{name}=…")
        else:
            shown.append(part)
        hide = not hide and part in private
    return " ".join(["python", f"benchmarks/{script}", *shown])


def machine_line(machine: Mapping[str, Any]) -> str:
    """Describe the machine in a sentence."""
    units = f" with {', '.join(machine['units'])}" if machine["units"] else ""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    gpu = f"{machine['gpu']} ({machine['gpu_memory_gib']} GiB), " if "gpu" in machine else ""
    return (
        f"{machine['date']}; {gpu}{machine['processor']}{units}; {machine['threads']} threads on "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']}, Python "
        f"{machine['python']}, {versions}; float32 matrix products at precision "
        f"{machine['float32_matmul_precision']!r}."
    )


def goals_table(goals: Sequence[Goal | Mapping[str, Any]]) -> str:
    """Format the table of goals, which comes first on a page."""
    lines = ["| work | goal | measured | share of the limit | |", "|---|---|---|--:|---|"]
    for goal in goals:
        values = goal if isinstance(goal, Mapping) else asdict(goal)
        share = "" if values["share"] is None else f"{values['share']:.0%}"
        mark = {True: "met", False: "missed", None: "–" if values["measured"] else "not measured"}[
            values["met"]
        ]
        note = f"; {values['note']}" if values["note"] else ""
        lines.append(
            f"| {values['work']} | {values['goal']} | {values['measured'] or '–'} | {share} | {mark}{note} |"
        )
    return "\n".join(lines)


def write_summary(names: Sequence[str], folder: Path) -> None:
    """Write one table of all goals, from the JSON files of a folder."""
    results: list[Mapping[str, Any]] = []
    for name in names:
        path = folder / f"{name}.json"
        if path.is_file():
            results.append(json.loads(path.read_text(encoding="utf-8")))
    if not results:
        sys.exit("no benchmark left a result")
    goals = [goal for result in results for goal in result["goals"]]
    lines = {machine_line(result["machine"]) for result in results}
    pages = ", ".join(f"[{result['name']}]({result['name']}.md)" for result in results)
    page = "\n\n".join(
        ["# Speed and memory: summary", "Command: `make bench`", *sorted(lines), goals_table(goals),
         f"How each was measured: {pages}."]
    )  # fmt: skip
    (folder / "summary.md").write_text(page + "\n", encoding="utf-8")
    summary = json.dumps({"goals": goals, "machine": results[0]["machine"]}, indent=1, ensure_ascii=False)
    (folder / "summary.json").write_text(summary + "\n", encoding="utf-8")
    print(page)


def _gemm_line(dtype: str, rate: Mapping[str, Any]) -> str:
    best = {name: max(rates.values()) for name, rates in rate["all_gflops"].items()}
    others = "".join(f"; {name} {most:,.0f}" for name, most in best.items() if name != rate["product"])
    return (
        f"Limit in {dtype}: {rate['limit_gflops']:,.0f} GFLOP/s, the rate of {rate['product']} at "
        f"{rate['shape']}, the best of {len(rate['all_gflops'][rate['product']])} shapes, in the same run"
        f"{others}."
    )


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,.3f}" if isinstance(value, float) else str(value)

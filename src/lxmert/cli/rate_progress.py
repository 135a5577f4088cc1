"""A progress bar with rate and time left, for work of hours; plain lines without a terminal."""

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SECONDS_BETWEEN_LINES = 60.0


class RateProgress:
    """One bar on standard error. Use as a context manager.

    Args:
        description: the activity, such as "extracting".
        unit: the things counted, such as "images".
        shows_counts: False shows a percentage instead of the numbers, for bytes.
        enabled: False shows nothing.
    """

    def __init__(
        self, description: str, *, unit: str = "images", shows_counts: bool = True, enabled: bool = True
    ) -> None:
        self._console = Console(stderr=True)
        self._description = description
        self._unit = unit
        self._enabled = enabled
        self._is_terminal = self._console.is_terminal
        self._started = self._last_line_at = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn() if shows_counts else TaskProgressColumn(),
            _RateColumn(unit if shows_counts else "MB", 1 if shows_counts else 10**6),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not (enabled and self._is_terminal))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def start(self, total: int, done: int = 0) -> Callable[[int], None]:
        """Start the bar at `done` of `total`; returns the function to call with each step."""
        task = self._bar.add_task(self._description, total=total, completed=done)
        self._started = self._last_line_at = time.monotonic()
        completed = done

        def advance(step: int) -> None:
            nonlocal completed
            completed += step
            self._bar.advance(task, step)
            now = time.monotonic()
            if self._enabled and not self._is_terminal and now - self._last_line_at >= _SECONDS_BETWEEN_LINES:
                self._last_line_at = now
                self._console.print(self._format_line(completed, done, total), highlight=False)

        return advance

    def _format_line(self, completed: int, at_start: int, total: int) -> str:
        rate = max(completed - at_start, 1) / max(time.monotonic() - self._started, 1e-9)
        minutes, seconds = divmod(round((total - completed) / rate), 60)
        left = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
        return f"{self._description}: {completed / max(total, 1):.1%} of {total:,} {self._unit}, {left}"


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str, per: int) -> None:
        super().__init__()
        self._unit = unit
        self._per = per

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed / self._per:.1f} {self._unit}/s")

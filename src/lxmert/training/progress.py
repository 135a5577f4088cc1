"""The display of a run: a progress bar per stage, and the accuracies after each epoch."""

from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from transformers import TrainerCallback

from lxmert.errors import one_line
from lxmert.training.log_history import ACCURACY, accuracy_per_family, validation_metrics

# Width of the longest numbers and a short bar; the rest of the line is for the description before them.
_NUMBERS_WIDTH = 40


class ProgressDisplay:
    """Progress bars on one console. Use as a context manager.

    Args:
        enabled: False shows nothing at all.
        console: The console; standard error when None, so that standard output stays clean.
    """

    def __init__(self, *, enabled: bool = True, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._enabled = enabled
        # On a narrow terminal the bar shrinks first, then the description is truncated; numbers never are.
        words = Column(no_wrap=True, max_width=max(self._console.width - _NUMBERS_WIDTH, 10))
        single_line = Column(no_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}", table_column=words, markup=False),
            BarColumn(),
            MofNCompleteColumn(table_column=single_line),
            TimeElapsedColumn(table_column=single_line),
            TimeRemainingColumn(table_column=single_line),
            console=self._console,
            disable=not enabled,
            refresh_per_second=2,
        )

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars.live.is_started:  # else it would print an empty line into a file or pipe
            self._bars.stop()

    def start(self, description: str, total: int) -> Callable[[int], None]:
        """Start a bar, replacing a full one of the same description; returns its function to advance."""
        for earlier in self._bars.tasks:
            if earlier.finished and earlier.description == description:
                self._bars.remove_task(earlier.id)
        self._bars.start()
        task = self._bars.add_task(description, total=total)
        return lambda count: self._bars.update(task, advance=count)

    def start_steps(self, description: str, total: int, completed_steps: int) -> Callable[[int, str], None]:
        """Start a bar for steps; returns a function to call with the steps done so far and a note."""
        self._bars.start()
        task = self._bars.add_task(description, total=total, completed=completed_steps)

        def show(completed: int, note: str) -> None:
            self._bars.update(task, completed=completed, description=f"{description}  {note}".rstrip())

        return show

    def print(self, renderable: RenderableType) -> None:
        """Print above the bars."""
        if self._enabled:
            self._bars.console.print(renderable)


class TrainingProgressCallback(TrainerCallback):
    """Shows a Trainer's steps and evaluations on a `ProgressDisplay`.

    Args:
        display: the display.
        describe: formats an evaluation's metrics, None to print nothing; accuracies by default.
    """

    def __init__(
        self, display: ProgressDisplay, describe: Callable[[dict[str, float]], str | None] | None = None
    ) -> None:
        self._display = display
        self._describe = describe or _format_accuracies
        self._note = ""
        self._show: Callable[[int, str], None] = lambda completed, note: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the bar, at the step from which a resumed run continues."""
        if state.is_world_process_zero:
            self._show = self._display.start_steps("Training", state.max_steps, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        self._show(state.global_step, self._note)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Show the latest loss next to the bar."""
        if logs and "loss" in logs:
            self._note = f"epoch {state.epoch:.2f}  loss {float(logs['loss']):.4f}"

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        """Print the metrics."""
        line = self._describe(metrics) if metrics and state.is_world_process_zero else None
        if line is not None:
            self._display.print(f"epoch {state.epoch:g}: {line}")


def _format_accuracies(metrics: dict[str, float]) -> str | None:
    """The overall accuracy and those of all families, in which a collapse shows first."""
    validation = validation_metrics(metrics)
    if ACCURACY not in validation:
        return None
    families = sorted(accuracy_per_family(validation).items())
    listed = "  ".join(f"{escape(one_line(name))} {value:.1f}" for name, value in families)
    return f"validation accuracy [bold]{validation[ACCURACY]:.2f} %[/bold]  {listed}"

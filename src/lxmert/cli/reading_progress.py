"""Progress bars for reading large files; they vanish when done, so that only results stay on the screen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lxmert.data.progress import StartProgress


@contextmanager
def reading_progress(*, enabled: bool = True) -> Iterator[StartProgress]:
    """Yield the `progress` argument of readers.

    Args:
        enabled: False shows nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    # In a narrow terminal only the bar shrinks.
    time_left = TimeRemainingColumn(table_column=Column(no_wrap=True))
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), time_left)
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not (enabled and console.is_terminal)
    ) as bars:

        def start(description: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(description, total=total)
            return lambda done: bars.advance(task, done)

        yield start

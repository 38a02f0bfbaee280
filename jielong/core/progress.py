"""What a person sees while a long job runs: where it is, how long still, where it writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

console = Console(stderr=True, highlight=False)
"""Everything that is not the result of a command goes to stderr, so that stdout can be piped."""


def say(message: str) -> None:
    """One line for the person at the terminal."""
    console.print(message, markup=False)


@dataclass
class Task:
    """One bar: advance it, and show a short note beside it."""

    bar: Progress
    task: TaskID

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Move on by `steps`; `note` replaces the text at the right."""
        self.bar.update(self.task, advance=steps, note=note)

    def go_back(self, done: float) -> None:
        """Show that only `done` steps are made."""
        self.bar.update(self.task, completed=int(done))


@contextmanager
def progress(description: str, total: float, done: float = 0) -> Iterator[Task]:
    """A progress bar with elapsed and remaining time; one line at the end when not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        Remaining(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as bar:
        yield Task(bar, bar.add_task(description, total=total, completed=int(done), note=""))

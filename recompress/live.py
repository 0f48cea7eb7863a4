"""What is going on, on a terminal. Imported where there is one: its library takes its time to load."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from recompress.printable import visible


class LiveReporter:
    """A bar for each piece of work, with bytes of how many, rate, and the time that the rest will take."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def step(self, text: str) -> None:
        """Write that a new part of the run begins."""
        self._progress.console.print(visible(text), highlight=False)

    def update(self, title: str, done: int, total: int) -> None:
        """Move the bar of a piece of work, which the first update makes."""
        with self._lock:
            if title not in self._tasks:
                self._tasks[title] = self._progress.add_task(title, total=total)
            self._progress.update(self._tasks[title], completed=done, total=total)

    def finish(self, title: str, outcome: str) -> None:
        """Say what came of a piece of work."""
        with self._lock:
            task = self._tasks.pop(title, None)
            if task is None:
                self._progress.console.print(f"{title}: {outcome}", highlight=False)
                return
            total = self._progress.tasks[self._progress.task_ids.index(task)].total
            self._progress.update(task, description=f"{title} {outcome}", completed=total)
            self._progress.stop_task(task)


@contextmanager
def reporter(stream: TextIO) -> Iterator[LiveReporter]:
    """The reporter for a terminal, for as long as the run takes."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(file=stream, markup=False, emoji=False)) as progress:
        yield LiveReporter(progress)

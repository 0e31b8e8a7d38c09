"""How far a sweep is: one live line on a terminal, else a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

INTERVAL = 60.0  # least seconds between two status lines where there is no terminal


class Board:
    """Prints what happens to cells, and keeps a status line.

    Args:
        total: Number of cells.
        done: How many of them are done already.
    """

    def __init__(self, total: int, done: int) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.done, self.total, self.last = done, total, time.monotonic()
        columns = (
            TextColumn('{task.description}'),
            BarColumn(12),
            MofNCompleteColumn(),
            TextColumn('{task.fields[status]}'),
        )
        self.live = Progress(*columns, console=self.console) if self.console.is_interactive else None
        if self.live:
            self.task = self.live.add_task('cells', total=total, completed=done, status='')
            self.live.start()

    def event(self, text: str, done: bool = False) -> None:
        """A line that stays; with `done`, one more cell has its record."""
        self.done += done
        self.console.print(f'[{self.done}/{self.total}] {text}', markup=False)
        self.last = time.monotonic()

    def status(self, text: str) -> None:
        if self.live:
            self.live.update(self.task, completed=self.done, status=text)
        elif time.monotonic() - self.last >= INTERVAL:
            self.event(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.live:
            self.live.stop()

"""How far a sweep is: one live line on a terminal, else a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress

INTERVAL = 60.0  # least seconds between two status lines where there is no terminal


class Board:
    """Prints what happens to cells, and keeps a status line.

    Args:
        total: Number of cells.
        done: How many of them are done already.
    """

    def __init__(self, total: int, done: int) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        columns = '{task.description}', BarColumn(12), MofNCompleteColumn(), '{task.fields[status]}'
        self.live = Progress(*columns, console=self.console, disable=not self.console.is_interactive)
        self.cells = self.live.add_task('cells', total=total, completed=done, status='')
        self.last = time.monotonic()
        self.live.start()

    def event(self, text: str, done: bool = False) -> None:
        """A line that stays; with `done`, one more cell has its record."""
        self.live.advance(self.cells, done)
        task = self.live.tasks[0]
        self.console.print(f'[{task.completed}/{task.total}] {text}', markup=False)
        self.last = time.monotonic()

    def status(self, text: str) -> None:
        self.live.update(self.cells, status=text)
        if self.live.disable and time.monotonic() - self.last >= INTERVAL:
            self.event(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.live.stop()

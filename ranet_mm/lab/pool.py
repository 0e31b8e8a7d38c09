"""Runs the cells of a sweep: several at a time, resumed where they were cut, each with its own log."""

from __future__ import annotations

import fcntl
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .. import files
from ..weights import mapping
from .grid import REST, Cell
from .records import METRIC

if TYPE_CHECKING:
    from .board import Board

LOG, LOCK, RECORD = 'sweep.log', 'sweep.lock', 'record.json'
POLL = 0.2  # seconds between two looks at the running cells
GRACE = 60.0  # seconds that a cell has to write its checkpoint
MARGIN = 0.25  # minutes at a sweep's end that no cell is given
LEAST = 1.0  # minutes that a cell must have that takes what is left


@dataclass(frozen=True)
class Places:
    """Where runs and their records are kept."""

    runs: Path  # folder of the work dirs
    records: Path  # folder of the records of finished runs

    def work_dir(self, cell: Cell) -> Path:
        return self.runs / cell.study / cell.key

    def record(self, cell: Cell) -> Path:
        return self.records / cell.study / f'{cell.key}.json'

    def state(self, cell: Cell) -> str:
        """`done`, `cut` where a run can go on, or `waiting`."""
        if self.record(cell).is_file():
            return 'done'
        return 'cut' if (self.work_dir(cell) / 'last_checkpoint').is_file() else 'waiting'

    def publish(self, cell: Cell) -> dict[str, Any]:
        """Copy the record of a finished run, with the options that made it.

        Raises:
            ValueError: The record is missing, or the run has not come to its end.
        """
        record = self._finished(cell)
        if not record:
            raise ValueError(f'the run ended without a finished {RECORD}')
        minutes = {} if cell.minutes is None else dict(minutes=cell.minutes)
        record['sweep'] = dict(options=dict(cell.options), jobs=cell.jobs, **minutes)
        files.write_json(self.record(cell), record)
        return record

    def complete(self, cell: Cell) -> bool:
        """Whether a run had nothing left to do when it was stopped: it was trained, and then tested or validated."""
        record = self._finished(cell)
        settings = record.get('settings', {})
        if settings.get('test_dataloader'):
            return 'test' in record
        return bool(record) and (not settings.get('val_dataloader') or METRIC in record['curve'][-1])

    def _finished(self, cell: Cell) -> dict[str, Any]:
        """The record in a run's work dir, where it is that of a whole training."""
        file = self.work_dir(cell) / RECORD
        record = mapping(file, 'record') if file.is_file() else {}
        return record if record and record.get('iteration') == record.get('iterations') else {}


@dataclass
class Run:
    """A cell that is running."""

    cell: Cell
    process: subprocess.Popen
    log: Path
    started: float = field(default_factory=time.monotonic)
    asked: bool = False  # to stop

    def last_line(self) -> str:
        with self.log.open('rb') as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
            lines = file.read().decode(errors='replace').strip().splitlines()
        return lines[-1] if lines else ''


def launch(cell: Cell, folder: Path, threads: int, rest: float) -> Run | None:
    """Start a cell, or go on with it, while `rest` minutes are left; None where another sweep is running it.

    The lock is the cell's as well, so that it holds even if this process is killed. In a session of its own the cell
    does not get the terminal's Ctrl-C, which is for this process to act on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open('a') as lock, (folder / LOG).open('a') as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        process = subprocess.Popen(
            [sys.executable, *cell.arguments(folder, rest)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, 'OMP_NUM_THREADS': str(threads)}, pass_fds=[lock.fileno()], start_new_session=True,
        )  # fmt: skip
    return Run(cell, process, folder / LOG)


def scores(record: Mapping[str, Any]) -> str:
    """The last accuracies of a record, as `validation 91.20, test 90.80`."""
    found = dict(validation=record['curve'][-1], test=record.get('test', {}))
    return ', '.join(f'{name} {values[METRIC]:.2f}' for name, values in found.items() if METRIC in values)


class Pool:
    """Runs cells in their order until all are done, the time is over, or a signal comes.

    A cell of a grid with `jobs: 4` takes a quarter of the machine; the next one starts when its share is free.

    Args:
        cells: The cells, the most valuable first; those that have a record are left out.
        places: Where runs and records are kept.
        board: Shows what happens.
        threads: Threads of a cell.
        seconds: Time after which running cells get SIGTERM, on which they write a checkpoint.
    """

    def __init__(self, cells: Iterable[Cell], places: Places, board: Board, threads: int, seconds: float) -> None:
        self.waiting = [c for c in cells if places.state(c) != 'done']
        self.places, self.board, self.threads = places, board, threads
        self.deadline = time.monotonic() + seconds
        self.running: list[Run] = []
        self.outcomes: Counter[str] = Counter()
        self.finished_seconds: list[float] = []
        self.signals = 0

    def run(self) -> Mapping[str, int]:
        """Number of cells by outcome: `done`, `failed`, `cut` or `waiting`."""
        handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while (self.waiting and not self._over()) or self.running:
                self._start_what_fits()
                self._collect()
                if self._over():
                    self._stop()
                self.board.status(self._status())
                time.sleep(POLL if self.running else 0)
        finally:
            for run in self.running:
                run.process.kill()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.board.close()
        self.outcomes['waiting'] += len(self.waiting)
        return self.outcomes

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        if self.signals > 1:
            raise KeyboardInterrupt('stopped at once; what ran goes on from its latest checkpoint')

    def _over(self) -> bool:
        return self.signals > 0 or time.monotonic() >= self.deadline

    def _start_what_fits(self) -> None:
        while self.waiting and not self._over():
            if sum(Fraction(1, cell.jobs) for cell in (self.waiting[0], *(run.cell for run in self.running))) > 1:
                return
            cell = self.waiting.pop(0)
            rest = (self.deadline - time.monotonic()) / 60 - MARGIN
            if cell.minutes == REST and rest < LEAST:
                self._end(cell, 'waiting', f'less than {LEAST:g} min is left')
            elif run := launch(cell, self.places.work_dir(cell), self.threads, rest):
                self.running.append(run)
            else:
                self._end(cell, 'waiting', 'is run by another sweep')

    def _collect(self) -> None:
        for run in [r for r in self.running if r.process.poll() is not None]:
            self.running.remove(run)
            if run.process.returncode == 0 or (run.asked and self.places.complete(run.cell)):
                self._publish(run)
            elif self._over():
                self._end(run.cell, 'cut', run.last_line())
            else:
                self._end(run.cell, 'failed', f'{run.last_line()}; see {run.log}')

    def _publish(self, run: Run) -> None:
        try:
            record = self.places.publish(run.cell)
        except ValueError as error:
            self._end(run.cell, 'failed', f'{error}; see {run.log}')
            return
        self.finished_seconds.append(time.monotonic() - run.started)
        self._end(run.cell, 'done', f'{scores(record)} in {self.finished_seconds[-1]:.0f} s')

    def _end(self, cell: Cell, outcome: str, text: str) -> None:
        self.outcomes[outcome] += 1
        self.board.event(f'{outcome:7} {cell.title}: {text}', done=outcome == 'done')

    def _stop(self) -> None:
        """Ask every running cell for a checkpoint, once, and end those that take longer than the grace."""
        self.deadline = min(self.deadline, time.monotonic())
        for run in self.running:
            if not run.asked:
                run.asked = True
                run.process.terminate()
            elif time.monotonic() > self.deadline + GRACE:
                run.process.kill()

    def _status(self) -> str:
        parts = [f'{self.outcomes["failed"]} failed, {len(self.running)} running']
        if self.finished_seconds and self.waiting:
            left = statistics.mean(self.finished_seconds) * sum(1 / cell.jobs for cell in self.waiting)
            parts.append(f'about {left / 60:.0f} min left')
        return '; '.join(parts + [run.last_line() for run in self.running])

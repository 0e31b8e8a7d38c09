"""Cells of a sweep as jobs of a cluster, each with a machine's share of its own, through submitit."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..machine import cores
from .grid import Cell
from .pool import GRACE, MARGIN, POLL, Places, Run, launch

if TYPE_CHECKING:
    from submitit import Job
    from submitit.helpers import DelayedSubmission

CLUSTERS = ('slurm', 'local')  # the second one starts all jobs at once on this machine, to try it out
TIMES = 20  # that a job is queued again when its time is over


@dataclasses.dataclass
class CellJob:
    """Trains a cell, or goes on with it, for so many minutes, and publishes its record, on the machine it is sent to.

    As many threads as the job has cores where `threads` is None. `RuntimeError` where the cell fails.
    """

    cell: Cell
    places: Places
    threads: int | None
    minutes: float
    run: Run | None = dataclasses.field(default=None, init=False)

    def __call__(self) -> None:
        if self.places.state(self.cell) == 'done':
            return
        if not self.places.complete(self.cell):
            self._train()
        self.places.publish(self.cell)

    def _train(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # for the cell, which it would end at once
        self.run = launch(self.cell, self.places.work_dir(self.cell), self.threads or cores(), self.minutes - MARGIN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        if self.run is None:
            raise RuntimeError(f'{self.cell.title} is run by another sweep')
        while self.run.process.poll() is None:  # in short steps: `checkpoint` may come between any two
            time.sleep(POLL)
        if self.run.process.returncode:
            raise RuntimeError(f'{self.cell.title}: {self.run.last_line()}; see {self.run.log}')

    def checkpoint(self) -> DelayedSubmission:
        """Have the cell write a checkpoint; submitit calls this at SIGUSR2, when a job must end, and queues it anew."""
        from submitit.helpers import DelayedSubmission

        if self.run is not None:
            self.run.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.run.process.wait(GRACE)
        return DelayedSubmission(dataclasses.replace(self))


def submit(jobs: Iterable[CellJob], folder: Path, cluster: str, options: Mapping[str, Any]) -> list[Job]:
    """Submit jobs as one array, with what each asks for by submitit's names; pickles and logs go to the folder.

    Raises:
        ModuleNotFoundError: submitit is not installed.
        ValueError: An option is not known, or its value is not allowed.
    """
    if find_spec('submitit') is None:
        raise ModuleNotFoundError("--cluster needs submitit, which is not installed: pip install 'ranet_mm[cluster]'")
    from submitit import AutoExecutor

    executor = AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=TIMES)
    try:
        executor.update_parameters(**options)
    except (NameError, AssertionError) as error:
        raise ValueError(f'--cluster-options are not allowed: {error}') from error
    with executor.batch():
        return [executor.submit(job) for job in jobs]

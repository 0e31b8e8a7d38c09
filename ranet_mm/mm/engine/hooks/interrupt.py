"""Interruption without loss: of one process, or of all processes of a run at the same step."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .... import files
from ....registry import HOOKS
from .. import launch
from ..workdir import INTERRUPTED, LATEST


@HOOKS.register_module()
class InterruptHook(Hook):
    """On SIGINT or SIGTERM finish the training step, save `interrupted.pth`, and stop; a second signal stops at once.

    In validation and in the test it stops without saving, as checkpoints are saved before. Several processes get the
    signal at different steps, or only one of them gets it: after each step, and after each batch that all of them have,
    they tell each other, on the host.

    Raises:
        KeyboardInterrupt: Training was interrupted.
    """

    priority = 'LOWEST'
    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.interrupted = False
        self.previous: dict[int, Any] = {}
        self.group: Any = None

    def before_train(self, runner: Runner) -> None:
        if runner.distributed:
            self.group = torch.distributed.new_group(backend='gloo')
        self.process = os.getpid()
        self.previous = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self._most(self.interrupted):
            folder = Path(runner.work_dir)
            runner.save_checkpoint(str(folder), INTERRUPTED, meta=dict(epoch=runner.epoch, iter=runner.iter + 1))
            if is_main_process():
                files.write(folder / LATEST, str(folder / INTERRUPTED))
            self._stop(f'interrupted after iteration {runner.iter + 1} of {runner.max_iters}')

    def _most(self, number: int) -> int:
        """The greatest of the processes' numbers."""
        if self.group is None:
            return int(number)
        found = torch.tensor(int(number))
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, self.group)
        return int(found)

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if mode != 'train':
            self.common = -self._most(-len(getattr(runner, f'{mode}_dataloader')))

    def _after_iter(self, runner: Runner, batch_idx: int, *args: Any, mode: str = 'train', **kwargs: Any) -> None:
        if batch_idx < self.common and self._most(self.interrupted):
            self._stop(f'interrupted in {dict(val="validation", test="the test")[mode]}')

    def after_train(self, runner: Runner) -> None:
        self._leave()
        folder = Path(runner.work_dir)
        latest = folder / LATEST
        if is_main_process() and latest.is_file() and Path(latest.read_text()).name != INTERRUPTED:
            (folder / INTERRUPTED).unlink(missing_ok=True)

    def _stop(self, what: str) -> None:
        self._leave()
        launch.leave()
        raise KeyboardInterrupt(f'{what}; --resume goes on from the latest checkpoint')

    def _leave(self) -> None:
        """Hand signals back, and end the hook's own group, as `launch.leave` ends the run's."""
        self.close()
        if self.group is not None:
            torch.distributed.destroy_process_group(self.group)
            self.group = None

    def close(self) -> None:
        """Hand signals back to those that handled them before."""
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a data worker: its parent decides, and ends it by SIGTERM
            if number == signal.SIGTERM:
                os._exit(1)
            return
        self.interrupted = True
        self.close()

"""What `ranet_mm.registry.HOOKS` offers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS
from .checkpoint import CheckpointGuardHook, allow_mmengine_checkpoints
from .progress import ProgressHook
from .record import RecordHook

__all__ = ['ChannelsLastHook', 'CheckpointGuardHook', 'InterruptHook', 'ProgressHook', 'RecordHook']

allow_mmengine_checkpoints()


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep convolution weights, and with them every map, in the memory order N, H, W, C."""

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)


@HOOKS.register_module()
class InterruptHook(Hook):
    """On SIGINT or SIGTERM finish the training step, save `interrupted.pth`, and stop; a second signal stops at once.

    In validation it stops without saving, as checkpoints are saved before. With several processes, which get the
    signal at different steps, it leaves the signals alone.

    Raises:
        KeyboardInterrupt: Training was interrupted.
    """

    priority = 'LOWEST'
    SIGNALS = (signal.SIGINT, signal.SIGTERM)
    FILE = 'interrupted.pth'

    def __init__(self) -> None:
        self.interrupted = False
        self.previous: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        if not runner.distributed:
            self.process = os.getpid()
            self.previous = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self.interrupted:
            folder = Path(runner.work_dir)
            runner.save_checkpoint(str(folder), self.FILE, meta=dict(epoch=runner.epoch, iter=runner.iter + 1))
            (folder / 'last_checkpoint').write_text(str(folder / self.FILE))
            self._stop(f'interrupted after iteration {runner.iter + 1} of {runner.max_iters}')

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self.interrupted:
            self._stop('interrupted in validation')

    def after_train(self, runner: Runner) -> None:
        self._restore()
        folder = Path(runner.work_dir)
        latest = folder / 'last_checkpoint'
        if latest.is_file() and Path(latest.read_text()).name != self.FILE:
            (folder / self.FILE).unlink(missing_ok=True)

    def _stop(self, what: str) -> None:
        self._restore()
        raise KeyboardInterrupt(f'{what}; --resume goes on from the latest checkpoint')

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a data worker: its parent decides, and ends it by SIGTERM
            if number == signal.SIGTERM:
                os._exit(1)
            return
        self.interrupted = True
        self._restore()

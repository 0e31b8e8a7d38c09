"""One live progress bar on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ....registry import HOOKS
from ..console import clock, images_per_second, run_name, scores
from ..loops import by_epoch, stretch
from ..workdir import shown


class Bar:
    """A live line on a terminal."""

    def __init__(self, console: Console) -> None:
        title, status = TextColumn('{task.description}'), TextColumn('{task.fields[status]}')
        self.progress = Progress(title, BarColumn(12), MofNCompleteColumn(), status, console=console)
        self.task = self.progress.add_task('starting', total=None, status='')
        self.progress.start()

    def update(self, title: str, done: int, total: int, status: str) -> None:
        last = done == total  # is shown even where the machine is too busy to draw in time
        self.progress.update(self.task, description=title, completed=done, total=total, status=status, refresh=last)

    def line(self, text: str) -> None:
        pass  # the bar says it

    def close(self) -> None:
        self.progress.stop()


class Lines:
    """Plain lines, at most one in `interval` seconds besides those that end an epoch."""

    def __init__(self, stream: TextIO, interval: float) -> None:
        self.stream, self.interval, self.last = stream, interval, time.monotonic()

    def update(self, title: str, done: int, total: int, status: str) -> None:
        if time.monotonic() - self.last >= self.interval:
            self.line(f'{title}  {done}/{total}  {status}')

    def line(self, text: str) -> None:
        self.last = time.monotonic()
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        pass


@HOOKS.register_module()
class ProgressHook(Hook):
    """Loss, accuracy, images/s and remaining time: one live line on a terminal, else a line now and then.

    Args:
        interval: Least seconds between two plain lines.
        stream: Standard output by default.
    """

    priority = 'LOWEST'

    def __init__(self, interval: float = 30.0, stream: TextIO | None = None) -> None:
        self.interval, self.stream = interval, stream
        self.display: Bar | Lines | None = None
        self.scores = ''

    def before_run(self, runner: Runner) -> None:
        if not is_main_process():
            return
        stream = self.stream or sys.stdout
        print(headline(runner), file=stream, flush=True)
        console = Console(file=stream)
        self.display = Bar(console) if console.is_interactive else Lines(stream, self.interval)

    def _after_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = 'train'
    ) -> None:
        if self.display is None:
            return
        title, done, total = 'iteration', runner.iter + 1, runner.max_iters
        if mode != 'train':
            title, done, total = 'evaluating', batch_idx + 1, len(getattr(runner, f'{mode}_dataloader'))
        elif by_epoch(runner):
            title = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
        self.display.update(title, done, total, self._status(runner, mode, data_batch))

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        self.scores = scores(metrics or {})
        if self.display is not None and runner.iter:  # not in an evaluation without training
            loss = runner.message_hub.get_scalar('train/loss').mean(stretch(runner))
            epochs = f'epoch {runner.epoch}/{runner.max_epochs}'
            done = epochs if by_epoch(runner) else f'iteration {runner.iter}/{runner.max_iters}'
            self.display.line(f'{done}  loss {loss:.3f}  {self.scores}')

    def after_run(self, runner: Runner) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.display is not None:
            self.display.close()
            self.display = None

    def _status(self, runner: Runner, mode: str, batch: Any) -> str:
        hub = runner.message_hub
        parts = [self.scores]
        if mode == 'train' and 'train/loss' in hub.log_scalars:  # the device may not have told the first one yet
            parts.insert(0, f'loss {hub.get_scalar("train/loss").current():.3f}')
        if f'{mode}/time' in hub.log_scalars:
            speed = len(batch['inputs']) * get_world_size() / max(hub.get_scalar(f'{mode}/time').mean(20), 1e-9)
            parts += [images_per_second(speed), f'{clock(hub.get_info("eta", 0))} left']
        return '  '.join(filter(None, parts))


def headline(runner: Runner) -> str:
    """What runs, on what, and where it writes."""
    millions = sum(p.numel() for p in runner.model.parameters()) / 1e6
    device = next(runner.model.parameters()).device.type
    threads = f' with {torch.get_num_threads()} threads' if device == 'cpu' else ''
    return f'{run_name(runner)}: {millions:.1f} M parameters on {device}{threads}, writing to {shown(runner.work_dir)}'

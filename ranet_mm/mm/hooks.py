"""What `ranet_mm.registry.HOOKS` offers."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.functional import interpolate

from ..registry import HOOKS
from .checkpoint import CheckpointGuardHook, use_safe_reader
from .final_test import FinalTestHook
from .progress import ProgressHook
from .record import RecordHook

__all__ = [
    'ChannelsLastHook',
    'CheckpointGuardHook',
    'FinalTestHook',
    'InterruptHook',
    'ProgressHook',
    'ProgressiveResizeHook',
    'RecordHook',
]

use_safe_reader()


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep convolution weights, and with them every map, in the memory order N, H, W, C."""

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)


@HOOKS.register_module()
class ProgressiveResizeHook(Hook):
    """Train on small pictures first: a picture of half the side costs a quarter of the time.

    Each picture is resized after its augmentation, by antialiased bilinear interpolation; validation and test see the
    full size. End at the full size, as batch-norm statistics depend on the size. A preprocessor that makes its own
    pictures on the device is told the side through its attribute `size`. The side follows from the epoch alone, so a
    resumed run goes on as the uninterrupted one.

    Args:
        sizes: (first epoch, side in pixels) in increasing order of the epoch, the first from epoch 0.

    Raises:
        ValueError: `sizes` does not start at epoch 0, is not in order or holds a side below 16.
    """

    LEAST = 16  # the deepest map of the CIFAR layout is then 4 x 4, which its mask can still halve

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        epochs = [epoch for epoch, _ in sizes]
        if not epochs or epochs[0] != 0 or epochs != sorted(set(epochs)) or min(side for _, side in sizes) < self.LEAST:
            raise ValueError(
                f'sizes={sizes!r} is not allowed: it must be (first epoch, side) pairs with increasing epochs '
                f'from 0 and sides of {self.LEAST} pixels or more'
            )
        self.sizes = sizes

    def side(self, epoch: int) -> int:
        return [side for first, side in self.sizes if first <= epoch][-1]

    def before_train(self, runner: Runner) -> None:
        for module in runner.model.modules():
            if hasattr(module, 'min_size'):
                module.min_size = min(module.min_size, *(side for _, side in self.sizes))

    def before_train_epoch(self, runner: Runner) -> None:
        runner.logger.info(f'epoch {runner.epoch + 1}: pictures of {self.side(runner.epoch)} pixels a side')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        side, preprocessor = self.side(runner.epoch), _unwrapped(runner.model).data_preprocessor
        if hasattr(preprocessor, 'size'):
            preprocessor.size = side
        else:
            data_batch['inputs'] = [_resized(image, side) for image in data_batch['inputs']]


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model


def _resized(image: Tensor, side: int) -> Tensor:
    """(C, H, W) to (C, side, side) in its own type."""
    if image.shape[-2:] == (side, side):
        return image
    return interpolate(image[None], size=(side, side), mode='bilinear', antialias=True)[0]


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

    def after_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self.interrupted:
            self._stop('interrupted in the test')

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

"""A training loop that resumes inside an epoch, and what loops count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Sampler

from ...registry import LOOPS
from .continuing import set_generators


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Epoch-based loop that, resumed from a checkpoint inside an epoch, goes on with the next batch.

    MMEngine's own loop starts such an epoch again and runs past the planned iterations. The order of the samples
    is that of the uninterrupted run, and so is what the process itself draws: dropout, mixed images, augmentation
    without data workers. The generators of data workers start from the seed again.
    A checkpoint from the end of an epoch was written before that epoch's validation, which is therefore made up for.

    Raises:
        ValueError: The images make no batch or have classes that the model's head has not, or the checkpoint's epochs
            have another number of iterations, or are more than there are to be.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        loader = self.dataloader
        if not len(loader):
            raise ValueError(
                f'{len(loader.dataset)} images make no batch of {loader.batch_size}: '
                'lower train_dataloader.batch_size, or set train_dataloader.drop_last=False'
            )

    def run(self) -> nn.Module:
        from .hooks.data_guard import check_classes

        check_classes(getattr(self.dataloader.dataset, 'metainfo', {}), self.runner.model, more=True)
        self._check_length()
        self.runner.call_hook('before_train')
        if self._iter and self._iter == self._epoch * len(self.dataloader):
            self._draw_on()
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _check_length(self) -> None:
        hub, length = self.runner.message_hub, len(self.dataloader)
        before = hub.get_info('max_iters', 0) // hub.get_info('max_epochs', 1)  # of the checkpoint, until before_train
        if self._iter and before != length:
            raise ValueError(
                f'an epoch of {length} iterations cannot go on with a checkpoint whose epochs have {before}: the data, '
                'the batch size and the number of processes must be those of the run so far'
            )
        if self._epoch > self._max_epochs:
            raise ValueError(
                f'train_cfg.max_epochs={self._max_epochs} is not allowed here: the checkpoint has {self._epoch} epochs'
            )

    def _validate_if_due(self) -> None:
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        for idx, batch in enumerate(remaining(self.dataloader, done, self._draw_on), start=done):
            self.run_iter(idx, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _draw_on(self) -> None:
        """Have a resumed run draw random numbers from where its checkpoint was."""
        states, self.runner.generators = getattr(self.runner, 'generators', None), None
        if states:
            set_generators(states)


def remaining(loader: DataLoader, done: int, start: Callable[[], None] = lambda: None) -> Iterator:
    """The epoch's batches but for the first `done`, which are not even loaded where the batches are plain slices.

    `start` is called when the first of them is about to be loaded by this process; workers have begun by then.
    """
    batches = loader.batch_sampler
    sliced = done and type(batches) is BatchSampler
    if sliced:
        sampler = batches.sampler
        batches.sampler = _Rest(sampler, done * batches.batch_size)
    try:
        iterator = iter(loader)
        for _ in range(0 if sliced else done):
            next(iterator, None)
        start()
        yield from iterator
    finally:
        if sliced:
            batches.sampler = sampler


class _Rest:
    """A sampler without its first samples, of the whole one's length: hooks read the epoch's off the loader."""

    def __init__(self, sampler: Sampler, skipped: int) -> None:
        self.sampler, self.skipped = sampler, skipped

    def __iter__(self) -> Iterator[int]:
        return islice(self.sampler, self.skipped, None)

    def __len__(self) -> int:
        return len(self.sampler)


def by_epoch(runner: Runner) -> bool:
    """Whether training counts epochs; mmseg's schedules count iterations."""
    return isinstance(runner.train_loop, EpochBasedTrainLoop)


def stretch(runner: Runner) -> int:
    """Iterations whose losses make one point of the curve: an epoch's, or those between two validations."""
    return len(runner.train_dataloader) if by_epoch(runner) else runner.train_loop.val_interval

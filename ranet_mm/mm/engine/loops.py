"""Training loops that resume where they were, and what loops count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ...registry import LOOPS
from ..data import drawn
from .continuing import set_generators


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Epoch-based loop that, resumed from a checkpoint inside an epoch, goes on with the next batch.

    MMEngine's own loop starts such an epoch again and runs past the planned iterations. The order of the samples
    is that of the uninterrupted run, and so is what is drawn: by the process itself (dropout, mixed images), and for
    the images, in whatever data workers (see `data.drawn`).
    A checkpoint from the end of an epoch was written before that epoch's validation, which is therefore made up for.

    Raises:
        ValueError: The images make no batch or have classes that the model's head has not, or the checkpoint's epochs
            have another number of iterations, or are more than there are to be.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        loader = drawn.prepare(self.dataloader)
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
            draw_on(self.runner)
            validate_if_due(self, self._epoch, self._max_epochs)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            validate_if_due(self, self._epoch, self._max_epochs)
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

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        batches = remaining(self.dataloader, done, self.runner.seed, self._epoch, lambda: draw_on(self.runner))
        for idx, batch in enumerate(batches, start=done):
            self.run_iter(idx, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@LOOPS.register_module()
class ResumableIterTrainLoop(IterBasedTrainLoop):
    """Loop by iterations that, resumed, goes on with the next batch and loads none of those before.

    The order of the samples and what is drawn are those of the uninterrupted run, as in `ResumableTrainLoop`. A
    checkpoint is written before a validation that is due at its iteration, which is made up for.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, **kwargs)
        drawn.prepare(self.dataloader)

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        batches = self._batches()
        if self._iter:
            draw_on(self.runner)
            validate_if_due(self, self._iter, self._max_iters)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            validate_if_due(self, self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _batches(self) -> Iterator:
        """The batches from this iteration on, of a sampler without an end or of one epoch after the other."""
        loader, sampler = self.dataloader, order(self.dataloader)
        if hasattr(sampler, '_indices_of_rank'):  # MMEngine's endless one goes on where any iterator has left it
            sampler.indices = sampler._indices_of_rank()
            epoch, done = 0, self._iter
        else:
            epoch, done = divmod(self._iter, len(loader))
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            yield from remaining(loader, done, self.runner.seed, epoch)
            epoch, done = epoch + 1, 0


def validate_if_due(loop: EpochBasedTrainLoop | IterBasedTrainLoop, done: int, most: int) -> None:
    """Validate behind the last of `most` epochs or iterations, and behind each that the interval says."""
    due = done % loop.val_interval == 0 or done == most
    if loop.runner.val_loop is not None and done >= loop.val_begin and due:
        loop.runner.val_loop.run()


def remaining(
    loader: DataLoader, done: int, seed: int = 0, epoch: int = 0, start: Callable[[], None] = lambda: None
) -> Iterator:
    """The epoch's batches but for the first `done`, which are not even loaded where there is a batch sampler.

    `start` is called when the first of them is about to be loaded by this process; workers have begun by then.
    """
    batches = loader.batch_sampler
    numbered = isinstance(batches, drawn.Batches)
    if numbered:
        batches.begin(seed, epoch, done)
    iterator = iter(loader)
    for _ in range(0 if numbered else done):
        next(iterator, None)
    start()
    yield from iterator


def order(loader: DataLoader) -> Any:
    """The sampler that a loader's batches come from."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def draw_on(runner: Runner) -> None:
    """Have a resumed run draw random numbers from where its checkpoint was; once."""
    states, runner.generators = getattr(runner, 'generators', None), None
    if states:
        set_generators(states)


def by_epoch(runner: Runner) -> bool:
    """Whether training counts epochs; mmseg's schedules count iterations."""
    return isinstance(runner.train_loop, EpochBasedTrainLoop)


def stretch(runner: Runner) -> int:
    """Iterations whose losses make one point of the curve: an epoch's, or those between two validations."""
    return len(runner.train_dataloader) if by_epoch(runner) else runner.train_loop.val_interval

"""The test images are read once: when training has ended."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ....registry import HOOKS
from ...data import by_name
from .checkpoint_guard import built, check_names


@HOOKS.register_module()
class FinalTestHook(Hook):
    """Test the last weights (their moving average, where there is one) after the last epoch.

    `RecordHook` keeps the metrics as `test`. A run that only helps to choose must leave the test images alone: it has
    no `test_dataloader` (`--no-test`).
    """

    priority = 'LOWEST'  # after the last checkpoint is saved

    def before_train(self, runner: Runner) -> None:
        for loop in built(runner.test_loop):  # built now, so that missing and other data are told before training
            check_names(by_name.names(runner.train_dataloader.dataset), loop, 'the data to train on')

    def after_train(self, runner: Runner) -> None:
        if runner.test_loop is not None:
            runner.test_loop.run()

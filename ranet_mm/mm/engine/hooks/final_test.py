"""The test images are read once: when training has ended."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ....registry import HOOKS


@HOOKS.register_module()
class FinalTestHook(Hook):
    """Test the last weights (their moving average, where there is one) after the last epoch.

    `RecordHook` keeps the metrics as `test`. A run that only helps to choose must leave the test images alone: it has
    no `test_dataloader` (`--no-test`).
    """

    priority = 'LOWEST'  # after the last checkpoint is saved

    def before_train(self, runner: Runner) -> None:
        runner.test_loop  # noqa: B018  built now, so that missing data are told before training

    def after_train(self, runner: Runner) -> None:
        if runner.test_loop is not None:
            runner.test_loop.run()

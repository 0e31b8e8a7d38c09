"""One work dir, one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .... import files
from .. import workdir


class ClaimHook(Hook):
    """Mark the work dir as this run's after the first step, when nothing can be refused any more.

    Args:
        cfg: The run's config.
        clean: Remove another run's checkpoints.
    """

    def __init__(self, cfg: Config, clean: bool) -> None:
        self.cfg, self.clean, self.claimed = cfg, clean, False

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if is_main_process() and not self.claimed:
            self.claimed = True
            sitting = runner.experiment_name, runner.iter
            workdir.claim(self.cfg, Path(runner.work_dir), self.clean, runner._resume, *sitting)
            if hasattr(runner, 'write_config'):
                runner.write_config()

    def after_train(self, runner: Runner) -> None:
        if is_main_process() and not self.claimed and runner._resume:  # killed behind its last step: none was left
            files.remove_drafts(Path(runner.work_dir))

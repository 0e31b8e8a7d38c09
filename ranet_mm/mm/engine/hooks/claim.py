"""One work dir, one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..workdir import CHECKPOINTS, LATEST, MARKER, fingerprint


class ClaimHook(Hook):
    """Mark the work dir as this run's after the first step, when nothing can be refused any more.

    Args:
        cfg: The run's config.
        clean: Remove another run's checkpoints.
    """

    def __init__(self, cfg: Config, clean: bool) -> None:
        self.cfg, self.clean, self.claimed = cfg, clean, False

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if not self.claimed:
            self.claimed = True
            self._claim(runner)

    @master_only
    def _claim(self, runner: Runner) -> None:
        folder = Path(runner.work_dir)
        if not runner._resume:
            (folder / LATEST).unlink(missing_ok=True)
            for pattern in CHECKPOINTS if self.clean else ():
                for path in folder.glob(pattern):
                    path.unlink()
        if not (
            runner._resume and self.cfg.get('minutes')
        ):  # a run by time is known by the epochs before it set its own
            entry = dict(config=self.cfg.filename, fingerprint=fingerprint(self.cfg))
            (folder / MARKER).write_text(json.dumps(entry, indent=1) + '\n')
        if hasattr(runner, 'write_config'):
            runner.write_config()

"""Checkpoints of which one that is whole is always there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from .... import files
from ....registry import HOOKS
from ..workdir import LATEST


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """MMEngine's, with the same arguments, which removes a checkpoint only after the next one is on the disk and right.

    MMEngine's own removes first. A run that is killed between the two removes it when it goes on: the list that its
    checkpoint has names one more than are to be kept. `ranet_mm.Runner` takes this hook for MMEngine's name too.
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.file_backend = _Later(self.file_backend)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        self._remove_outdated()  # a best checkpoint, of which the next one is there by now
        kept = self.keep_ckpt_ids if self.max_keep_ckpts > 0 else None
        if kept is not None and step not in kept:
            kept.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(kept))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args,
        )  # fmt: skip
        if is_main_process():
            files.write(Path(runner.work_dir, LATEST), self.last_ckpt)
        while kept and len(kept) > self.max_keep_ckpts:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(kept.popleft()))
            if is_main_process():
                self.file_backend.remove(path)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        self.file_backend.remove_collected(but=[path for path in best if path])


class _Later:
    """A file backend that collects what is to be removed."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.collected = backend, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.collected.append(path)

    rmtree = remove  # of checkpoints that are folders

    def remove_collected(self, but: list[str]) -> None:
        """Remove what was collected; `but` are paths that have been written anew since."""
        for path in set(self.collected).difference(but):
            if self.backend.isfile(path):
                self.backend.remove(path)
            elif self.backend.isdir(path):
                self.backend.rmtree(path)
        self.collected = []

"""MMEngine's runner with a short console."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, CheckpointLoader
from mmengine.runner import Runner as MMEngineRunner
from torch import nn
from torch.utils.data import DataLoader

from ...compiling import compile_units
from ...registry import RUNNERS
from ..data import by_name
from .console import Console, silent
from .hooks import ChannelsLastHook, ProgressHook, hook_type
from .hooks.channels_last import to_channels_last
from .hooks.checkpoint_guard import unwrapped


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Sends MMEngine's messages to the log file, and to the console only warnings, which leaves it to `ProgressHook`.

    The work dir's copy of the config is written by `write_config` alone, once a run has proven to work.

    Labels of a classifier's data to evaluate on follow the names of its classes: those of the training data, or where
    nothing is trained those of the checkpoint (see `data.by_name`).
    """

    printed: _Printed | None = None

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for i, handler in enumerate(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.handlers[i] = Console(handler)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.distributed and ChannelsLastHook in map(hook_type, self.cfg.get('custom_hooks') or ()):
            to_channels_last(model)
        return super().wrap_model(model_wrapper_cfg, model)

    def train(self) -> nn.Module:
        try:
            return super().train()
        finally:
            self._close_terminal()

    def test(self) -> dict[str, float]:
        try:
            return super().test()
        finally:
            self._close_terminal()

    def _close_terminal(self) -> None:
        """Leave the terminal as it was, whatever has happened."""
        for hook in self.hooks:
            if isinstance(hook, ProgressHook):
                hook.close()

    def _maybe_compile(self, target: str) -> None:
        """MMEngine compiles whole steps, with the data and the optimizer in them; here it is the network's units."""
        options = self.cfg.get('compile')
        if options and target == 'train_step':
            compile_units(unwrapped(self.model), self.train_dataloader.batch_size, {} if options is True else options)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        built = super().build_evaluator(evaluator)
        built.evaluate = silent(built.evaluate)
        return built

    load_checkpoint = silent(MMEngineRunner.load_checkpoint)
    build_train_loop = silent(MMEngineRunner.build_train_loop)

    @silent
    def build_val_loop(self, *args: Any, **kwargs: Any) -> BaseLoop:
        self._val_dataloader = named(self, self._val_dataloader)
        return super().build_val_loop(*args, **kwargs)

    @silent
    def build_test_loop(self, *args: Any, **kwargs: Any) -> BaseLoop:
        self._test_dataloader = named(self, self._test_dataloader)
        return super().build_test_loop(*args, **kwargs)

    _init_model_weights = silent(MMEngineRunner._init_model_weights)

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """MMEngine's, which formats the config anew for each checkpoint: a fifth of a second without a step."""
        cfg = self.cfg
        self.printed = self.printed or _Printed(cfg)
        self.cfg = self.printed
        try:
            super().save_checkpoint(*args, **kwargs)
        finally:
            self.cfg = cfg

    def dump_config(self) -> None:
        """MMEngine calls this before anything is checked."""

    def write_config(self) -> None:
        """Write the config into the work dir."""
        super().dump_config()


def named(runner: MMEngineRunner, loader: Any) -> Any:
    """The config of a loader to evaluate on, whose labels follow the names of the model's classes.

    Only a classifier's: detectors and segmentors find the classes of their files by name themselves.
    """
    if runner.cfg.get('default_scope', 'mmpretrain') != 'mmpretrain' or not isinstance(loader, Mapping):
        return loader
    return by_name.wrapped(loader, model_classes(runner))


def model_classes(runner: MMEngineRunner) -> tuple[str, ...]:
    """The names of the classes that a runner trains, or else of those that its checkpoint tells; or nothing."""
    loop, loader = runner._train_loop, runner._train_dataloader
    loader = loop.dataloader if isinstance(loop, BaseLoop) else loader
    if isinstance(loader, DataLoader):
        return by_name.names(loader.dataset)
    path = runner._load_from
    return by_name.of_checkpoint(CheckpointLoader.load_checkpoint(path, 'cpu', 'silent')) if path else ()


class _Printed:
    """A config whose text is there."""

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.pretty_text = cfg, cfg.pretty_text

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cfg, name)

"""MMEngine's runner with a short console."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import BaseLoop, CheckpointLoader, EpochBasedTrainLoop
from mmengine.runner import Runner as MMEngineRunner
from torch import nn
from torch.utils.data import DataLoader

from ... import files
from ...compiling import compile_units
from ...registry import RUNNERS
from ...weights.description import classes_of
from ..data import by_name, drawn
from . import continuing, foresight, workdir
from .console import Console, silent
from .hooks import ChannelsLastHook, InterruptHook, ProgressHook, hook_type
from .hooks.channels_last import to_channels_last
from .hooks.checkpoint_guard import unwrapped
from .loops import by_epoch
from .optim import fuse

# What takes the place of MMEngine's own by its name: with the same arguments, and exact after a resume.
OWN_HOOKS = dict(CheckpointHook='ranet_mm.CheckpointHook')
OWN_LOOPS = dict(
    EpochBasedTrainLoop='ranet_mm.ResumableTrainLoop', IterBasedTrainLoop='ranet_mm.ResumableIterTrainLoop'
)
LOOPS_BY_EPOCH = {True: 'EpochBasedTrainLoop', False: 'IterBasedTrainLoop'}


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Sends MMEngine's messages to the log file, and to the console only warnings, which leaves it to `ProgressHook`.

    The work dir's copy of the config is written by `write_config` alone, once a run has proven to work.

    Labels of a classifier's data to evaluate on follow the names of its classes: those of the training data, or where
    nothing is trained those of the checkpoint (see `data.by_name`).
    """

    printed: _Printed | None = None
    processes: list[dict[str, Any]] | None = None
    generators: dict[str, Any] | None = None
    drawn: tuple[int | None, dict[str, Any]] = (None, {})

    @property
    def _experiment_name(self) -> str:
        """MMEngine keeps loggers, message hubs and visualizers under it: no two runners of a process may share one."""
        return self._name

    @_experiment_name.setter
    def _experiment_name(self, name: str) -> None:
        names = chain([name], (f'{name}-{number}' for number in count(2)))  # the time in it is in seconds
        self._name = next(name for name in names if not MMLogger.check_instance_created(name))

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        return drawn.alone(MMEngineRunner.build_dataloader(*args, **kwargs))

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        if isinstance(hook, Mapping) and hook.get('type') in OWN_HOOKS:
            hook = {**hook, 'type': OWN_HOOKS[hook['type']]}
        super().register_hook(hook, priority)

    def load_or_resume(self) -> None:
        """MMEngine's, which by `resume=True` alone takes what the work dir names, whatever is in that file."""
        if self._resume and self._load_from is None and not self._has_loaded:
            found = workdir.newest(Path(self.work_dir))
            self._resume, self._load_from = found is not None, found and str(found)
        super().load_or_resume()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for i, handler in enumerate(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.handlers[i] = Console(handler)
            else:  # a log that cannot be written must not fill the console: what ends the run is told once
                handler.handleError = lambda record: None
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.distributed and ChannelsLastHook in map(hook_type, self.cfg.get('custom_hooks') or ()):
            to_channels_last(model)
        return super().wrap_model(model_wrapper_cfg, model)

    def train(self) -> nn.Module:
        try:
            return super().train()
        except RuntimeError as error:
            if re.match(r'DataLoader worker .*(killed|exited)', str(error)) is None:
                raise
            raise ChildProcessError(
                f'a data worker was ended by the system ({str(error).partition(". ")[0]}), most often for want of '
                'memory: lower num_workers of train_dataloader; --resume goes on from the latest checkpoint'
            ) from error
        finally:
            self._leave()

    def test(self) -> dict[str, float]:
        try:
            return super().test()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Leave the terminal and the handlers of signals as they were, and end data workers, whatever has happened.

        Workers that are left to the garbage collector wait for five seconds, as it closes their queues first.
        """
        for hook in self.hooks:
            if isinstance(hook, ProgressHook | InterruptHook):
                hook.close()
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            loader = getattr(loop, 'dataloader', None)
            if getattr(loader, '_iterator', None) is not None:
                loader._iterator._shutdown_workers()
                loader._iterator = None

    def _maybe_compile(self, target: str) -> None:
        """MMEngine compiles whole steps, with the data and the optimizer in them; here it is the network's units."""
        if target == 'train_step':
            foresight.refuse_one_image(unwrapped(self.model), self.train_loop)
        options = self.cfg.get('compile')
        if options and target == 'train_step':
            compile_units(unwrapped(self.model), self.train_dataloader.batch_size, {} if options is True else options)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        built = super().build_evaluator(evaluator)
        built.evaluate = silent(built.evaluate)
        return built

    @silent
    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(*args, **kwargs)
        self.processes = (checkpoint.get('meta') or {}).pop(continuing.PROCESSES, None)
        return checkpoint

    def resume(self, *args: Any, **kwargs: Any) -> None:
        """MMEngine's, with what it leaves out (see `continuing`), and in the order that the checkpoint's seed gives."""
        planned = [scheduler.end for scheduler in flat(self.param_schedulers)]
        super().resume(*args, **kwargs)
        ends = [scheduler.end for scheduler in flat(self.param_schedulers)]
        if planned and ends != planned:
            self.logger.warning(
                f'the schedules go on as the checkpoint has them, with ends at {ends}; by the config they would end at '
                f'{planned}'
            )
        if self.processes:
            mine = continuing.restore(unwrapped(self.model), self.hooks, self.processes)
            self.generators = mine['generators']
            self.processes = None
            if mine['gradients']:
                self.logger.addFilter(lambda record: continuing.LOST not in record.getMessage())
        loop, loader = self.train_loop, self.train_dataloader
        if not by_epoch(self) and loop.iter > loop.max_iters:
            raise ValueError(
                f'train_cfg.max_iters={loop.max_iters} is not allowed here: the checkpoint has {loop.iter} iterations'
            )
        for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
            if hasattr(sampler, 'seed'):
                sampler.seed = self.seed

    @silent
    def build_train_loop(self, loop: Any) -> BaseLoop:
        if isinstance(loop, Mapping):
            foresight.check_lengths(loop)
            loop = dict(loop)
            kind = loop.pop('type', None) or LOOPS_BY_EPOCH[loop.pop('by_epoch', True)]
            loop['type'] = OWN_LOOPS.get(kind, kind) if isinstance(kind, str) else kind
        built = super().build_train_loop(loop)
        last = built.max_epochs if isinstance(built, EpochBasedTrainLoop) else built.max_iters
        if self._val_loop is not None and built.val_begin > last:
            self.logger.warning(
                f'train_cfg.val_begin={built.val_begin} is after the last, {last}: nothing is validated'
            )
        return built

    def build_param_scheduler(self, scheduler: Any) -> Any:
        described = [scheduler] if isinstance(scheduler, Mapping) else scheduler
        if not self._resume and all(isinstance(s, Mapping) and 'type' in s for s in described):
            for sentence in foresight.schedules_beyond(described, self.train_loop):
                self.logger.warning(sentence)
        return super().build_param_scheduler(scheduler)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        if isinstance(optim_wrapper, Mapping):
            foresight.check_optimization(optim_wrapper)
        paramwise = isinstance(optim_wrapper, Mapping) and optim_wrapper.get('paramwise_cfg')
        if paramwise and (missing := foresight.without_parameter(paramwise, self.model)):
            self.logger.warning(
                f'optim_wrapper.paramwise_cfg.custom_keys has {", ".join(map(repr, missing))}, which no parameter '
                'has in its name: nothing is changed by it'
            )
        wrapper = super().build_optim_wrapper(optim_wrapper)
        if isinstance(wrapper, OptimWrapper):  # not several in one
            fuse(wrapper.optimizer)
        return wrapper

    @silent
    def build_val_loop(self, *args: Any, **kwargs: Any) -> BaseLoop:
        self._val_dataloader = named(self, self._val_dataloader)
        return super().build_val_loop(*args, **kwargs)

    @silent
    def build_test_loop(self, *args: Any, **kwargs: Any) -> BaseLoop:
        self._test_dataloader = named(self, self._test_dataloader)
        return super().build_test_loop(*args, **kwargs)

    _init_model_weights = silent(MMEngineRunner._init_model_weights)

    def save_checkpoint(
        self, *args: Any, save_optimizer: bool = True, meta: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """MMEngine's, with what it leaves out (see `continuing`) where it is to go on from; each process calls it.

        MMEngine formats the config anew for each checkpoint: a fifth of a second without a step.
        """
        if save_optimizer:
            meta = meta or {}
            if 'iter' not in meta or self.drawn[0] != meta['iter']:  # a validation, which may save once more, draws
                self.drawn = meta.get('iter'), continuing.generators()
            meta = {**meta, continuing.PROCESSES: continuing.gathered(unwrapped(self.model), self.hooks, self.drawn[1])}
        cfg = self.cfg
        self.printed = self.printed or _Printed(cfg)
        self.cfg = self.printed
        try:
            super().save_checkpoint(*args, save_optimizer=save_optimizer, meta=meta, **kwargs)
        finally:
            self.cfg = cfg

    def dump_config(self) -> None:
        """MMEngine calls this before anything is checked."""

    def write_config(self) -> None:
        """Write the config into the work dir."""
        name = Path(self.cfg.filename).with_suffix('.py').name if self.cfg.filename else f'{self.timestamp}.py'
        files.write(Path(self.work_dir, name), self.cfg.pretty_text)


def flat(schedulers: Any) -> list[_ParamScheduler]:
    """The schedulers of one optimizer or of several, as far as they are built."""
    found = chain(*schedulers.values()) if isinstance(schedulers, Mapping) else schedulers or ()
    return [scheduler for scheduler in found if isinstance(scheduler, _ParamScheduler)]


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
    return classes_of(CheckpointLoader.load_checkpoint(path, 'cpu', 'silent')) if path else ()


class _Printed:
    """A config whose text is there."""

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.pretty_text = cfg, cfg.pretty_text

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cfg, name)

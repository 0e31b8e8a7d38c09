"""What the parts of a run take, measured on a runner that has not begun and is left as it was."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list
from mmengine.runner import Runner, autocast
from torch import nn

from ... import files
from .hooks import ChannelsLastHook, ProgressiveResizeHook
from .provenance import described
from .runner import named

WARM_UP = 3  # steps that are not counted: they compile, choose algorithms and make gradients

Costs = dict[str, float]


def measured(runner: Runner, least: float) -> Costs:
    """Seconds of a step, of an epoch, of a validation, of the test, of a checkpoint, and once in a run.

    Args:
        runner: A runner that has not begun. It gets its data loaders built.
        least: Seconds of each measurement.
    """
    for name in loaders(runner):
        config = getattr(runner, name) if name == '_train_dataloader' else named(runner, getattr(runner, name))
        setattr(runner, name, runner.build_dataloader(config, runner.seed))
        described(getattr(runner, name).dataset, name.split('_')[1])  # read for the record, once
    for hook in runner.hooks:
        if isinstance(hook, ChannelsLastHook):
            hook.before_run(runner)
    with unchanged(runner.model):
        wrapper = runner.build_optim_wrapper(deepcopy(runner.optim_wrapper))
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner._maybe_compile('train_step')
        costs = training(runner, wrapper, least)
        costs['save'] = seconds(lambda: save(runner, wrapper))
        costs['start'] = 1.0  # loops and hooks are set up again
        for name in ('val', 'test'):
            first, costs[name] = evaluation(runner, name, least)
            costs['start'] += first
    return costs


def loaders(runner: Runner) -> list[str]:
    """The attributes of a runner that hold its data loaders."""
    names = (f'_{split}_dataloader' for split in ('train', 'val', 'test'))
    return [name for name in names if getattr(runner, name) is not None]


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Put weights, statistics and random generators back; gradients are dropped."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        model.load_state_dict(weights)
        model.zero_grad(set_to_none=True)
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])


def training(runner: Runner, wrapper: Any, least: float) -> Costs:
    """Seconds of a step and of an epoch, data included, on average over the image sizes of the run."""
    loader = runner._train_loop.dataloader
    batches = chain.from_iterable(repeat(loader))
    resize = next((hook for hook in runner.hooks if isinstance(hook, ProgressiveResizeHook)), None)
    if resize is not None:
        resize.before_train(runner)
    runner.model.train()

    def steps(count: int, side: int | None) -> float:
        return seconds(lambda: [step(batch, side) for batch in islice(batches, count)])

    def step(batch: Any, side: int | None) -> None:
        if resize is not None:
            resize.resize(runner, batch, side)
        runner.model.train_step(batch, optim_wrapper=wrapper)

    mean = 0.0
    for share, side in resize.shares(runner.max_epochs) if resize else [(1.0, None)]:
        steps(WARM_UP, side)
        count = [max(2, min(len(loader), round(least / steps(1, side))))]
        broadcast_object_list(count)
        mean += share * steps(count[0], side) / count[0]
    return dict(step=mean, epoch=mean * len(loader))


def evaluation(runner: Runner, name: str, least: float) -> tuple[float, float]:
    """Seconds of the first batch, for which data workers start, and of all others of a validation or test."""
    loader = getattr(runner, f'_{name}_dataloader')
    if loader is None:
        return 0.0, 0.0
    evaluator = runner.build_evaluator(deepcopy(getattr(runner, f'_{name}_evaluator')))
    evaluator.dataset_meta = loader.dataset.metainfo
    half = runner.cfg.get(f'{name}_cfg', {}).get('fp16', False)
    batches, predict = iter(loader), getattr(runner.model.eval(), f'{name}_step')

    def steps(count: int) -> float:
        with torch.no_grad(), autocast(enabled=half):
            return seconds(lambda: [evaluator.process(predict(batch), batch) for batch in islice(batches, count)])

    first = steps(1)
    if len(loader) == 1:
        return 0.0, first
    one = steps(1)
    more = min(len(loader) - 2, round(least / one))
    return first, (len(loader) - 1) * (one if more < 1 else steps(more) / more)


def save(runner: Runner, wrapper: Any) -> None:
    weights = dict(state_dict=runner.model.state_dict(), optimizer=wrapper.state_dict())
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    files.write(Path(runner.work_dir, 'trial.pth'), buffer.getvalue())


def seconds(work: Callable[[], Any]) -> float:
    """Of some work, the device's included."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started

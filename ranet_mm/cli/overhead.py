"""Measure what the runner adds to a training step: hooks, logs, data and labels, beside a bare loop in turns.

A bare step is forward, loss, backward and the optimizer's step of the same network on one batch that is there. Both run
in one process, step by step in turns, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import contextlib
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from .. import files
from ..lab.speed import seconds, synchronize
from ..mm import config
from .program import COUNT, FILE, command, config_options, option, table

SKIPPED = 5  # steps that compile, choose algorithms and make gradients


@command(
    config_options,
    option('--steps', **COUNT, default=200, help='steps of each, in turns'),
    option('--json', **FILE, help='write every step to this file too'),
)
def main(args: Namespace) -> None:
    """Measure, print a table, and write JSON where it is asked for."""
    cfg = config.load_config(args)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    with TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner = config.build_runner(cfg)
        clock = in_turns(runner, args.steps)
        with contextlib.suppress(_Enough):
            runner.train()
    found = {name: [1000 * s for s in seconds[SKIPPED:]] for name, seconds in clock.seconds.items()}
    ratios = [a / b for a, b in zip(found['runner'], found['bare loop'], strict=True)]
    rows = {**{f'{name}, ms': values for name, values in found.items()}, 'runner / bare loop': ratios}
    cells = [[name, *(f'{of(values):.3f}' for of in (median, min, max))] for name, values in rows.items()]
    print(table([[f'{args.steps} steps', 'median', 'lowest', 'highest'], *cells]))
    if args.json:
        files.write_json(args.json, dict(milliseconds=found, ratios=ratios))


class _Enough(Exception):  # noqa: N818 - ends a run, and is no error
    """As many steps as were asked for."""


class Clock:
    """Seconds of each step and of its parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {
            name: [] for name in ('bare loop', 'runner', 'of it hooks', 'of it data')
        }
        self.now: dict[str, float] = defaultdict(float)

    def timed(self, name: str, work: Callable) -> Callable:
        """The same work, whose time adds to a part of the step."""

        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.now[name] += time.perf_counter() - started

        return run

    def note(self, seconds: dict[str, float]) -> None:
        self.now |= seconds
        for name, values in self.seconds.items():
            values.append(self.now[name])


def in_turns(runner: Any, steps: int) -> Clock:
    """Have a runner take a bare step after each of its own."""
    clock = Clock()
    call_hook = clock.timed('of it hooks', runner.call_hook)
    bare = since = None

    def call(fn_name: str, **kwargs: Any) -> None:
        nonlocal bare, since
        call_hook(fn_name, **kwargs)
        if fn_name == 'before_train':
            model = runner.model.module if hasattr(runner.model, 'module') else runner.model
            preprocessor = model.data_preprocessor
            preprocessor.forward = clock.timed('of it data', preprocessor.forward)
            bare = bare_step(runner)
        elif fn_name == 'after_train_iter':
            synchronize()
            ended, spent = time.perf_counter(), seconds(bare)
            if since is not None:  # the first step began unseen
                clock.note({'runner': ended - since, 'bare loop': spent})
            if len(clock.seconds['runner']) >= steps + SKIPPED:
                raise _Enough
            clock.now.clear()
            since = time.perf_counter()

    runner.call_hook = call
    return clock


def bare_step(runner: Any) -> Callable[[], None]:
    """A step of a copy of the runner's model, with its optimizer, precision and one batch of its data."""
    model = deepcopy(runner.model)
    wrapper = runner.build_optim_wrapper(deepcopy(runner.cfg.optim_wrapper))
    groups = dict(zip(runner.model.parameters(), model.parameters(), strict=True))
    for group in wrapper.optimizer.param_groups:
        group['params'] = [groups[p] for p in group['params']]
    data = model.data_preprocessor(next(iter(runner.train_dataloader)), True)
    model.train()

    def step() -> None:
        with wrapper.optim_context(model):
            loss = model(**data, mode='loss')['loss']
        loss.backward()
        wrapper.optimizer.step()
        wrapper.optimizer.zero_grad()

    return step

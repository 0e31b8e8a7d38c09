"""Learning rate and momentum of every iteration that a config would train; nothing is trained."""

from __future__ import annotations

import csv
import logging
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..mm import config
from .program import COUNT, FILE, check_ending, command, config_options, option, table

LINES = 12
ENDINGS = '.csv', '.png'


@command(
    config_options,
    option('--out', **FILE, nargs='+', default=[], help='.csv and .png to write'),
    option('--images', **COUNT, help='training images, where the data set is not here'),
    option('--processes', **COUNT, default=1, help='processes of the training'),
)
def main(args: Namespace) -> None:
    """Print a few lines of the schedule, and write all of it where that is asked for."""
    for path in args.out:
        check_ending('--out', path, ENDINGS)
    cfg = config.load_config(args)
    if not cfg.get('train_cfg') or not cfg.get('optim_wrapper'):
        raise ValueError(f'config file {args.config!r} has no train_cfg and optim_wrapper, so it trains nothing')
    rows = list(schedule(cfg, batches(cfg, args.images, args.processes)))
    step = max(1, (len(rows) - 1) // (LINES - 1))
    chosen = [*rows[:-1:step], rows[-1]]
    print(table([[*rows[0]], *([f'{v:.5g}' for v in row.values()] for row in chosen)]))
    for path in args.out:
        if path.suffix == '.png':
            draw(path, rows)
        else:
            with files.whole(path) as draft, draft.open('w', newline='', encoding='utf-8') as file:
                csv.writer(file).writerows([[*rows[0]], *(row.values() for row in rows)])
        print(f'{len(rows)} iterations written to {path}')


def batches(cfg: config.Config, images: int | None, processes: int) -> int:
    """Iterations of an epoch.

    Raises:
        ValueError: A batch has more images than there are.
    """
    loader = cfg.train_dataloader
    if images is None:
        from mmengine.registry import DATASETS, init_default_scope

        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        images = len(DATASETS.build(loader.dataset))
    batch = loader.batch_size
    of_each = -(-images // processes)
    count = of_each // batch if loader.get('drop_last') else -(-of_each // batch)
    if not count:
        raise ValueError(f'{images} images are not allowed: a batch has {batch * processes}')
    return count


def schedule(cfg: config.Config, length: int) -> Iterator[dict[str, float]]:
    """For each iteration its number, its epoch, and the values that it trains with, by group where they differ."""
    from mmengine.runner import EpochBasedTrainLoop

    with tempfile.TemporaryDirectory() as folder:
        runner = prepared(cfg, length, folder)
        epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        groups = distinct(runner.optim_wrapper.param_groups)
        schedulers = runner.param_schedulers
        for iteration in range(runner.max_iters):
            row = dict(iteration=iteration, epoch=iteration / length)
            for ending, group in groups.items():
                row |= {f'lr{ending}': group['lr'], f'momentum{ending}': momentum(group)}
            yield row
            runner.optim_wrapper.step()  # without gradients: schedulers insist on it
            ends = epochs and (iteration + 1) % length == 0
            for scheduler in schedulers:
                if not scheduler.by_epoch or ends:
                    scheduler.step()


def prepared(cfg: config.Config, length: int, folder: str) -> config.Runner:
    """A runner with MMEngine's own optimizer and schedulers, for a model without memory and batches without images."""
    import torch
    from mmengine.registry import MODELS, init_default_scope
    from mmengine.runner import Runner
    from torch import nn
    from torch.utils.data import DataLoader

    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    runner = Runner(
        nn.Identity(), folder, train_dataloader=DataLoader(range(length)), train_cfg=cfg.train_cfg,
        optim_wrapper=cfg.optim_wrapper, param_scheduler=cfg.get('param_scheduler'), log_level=logging.ERROR,
        default_scope=cfg.get('default_scope', 'mmpretrain'), experiment_name='schedule',
    )  # fmt: skip
    with torch.device('meta'):
        runner.model = MODELS.build(cfg.model)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(cfg.get('param_scheduler') or [])
    return runner


def distinct(groups: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The optimizer's groups that differ in learning rate or momentum, by what their columns' names end in."""
    found: dict[tuple, dict[str, Any]] = {}
    for group in groups:
        found.setdefault((group['lr'], momentum(group)), group)
    return {f'.{i}' if len(found) > 1 else '': group for i, group in enumerate(found.values())}


def momentum(group: dict[str, Any]) -> float:
    """Of Adam its first beta."""
    return group['momentum'] if 'momentum' in group else group.get('betas', (0.0,))[0]


def draw(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Learning rates above momenta, against iterations."""
    from matplotlib.figure import Figure

    figure = Figure((8, 6), layout='constrained')
    for axes, name in zip(figure.subplots(2, sharex=True), ('lr', 'momentum'), strict=True):
        for column in (c for c in rows[0] if c.partition('.')[0] == name):
            axes.plot([row['iteration'] for row in rows], [row[column] for row in rows], label=column)
        axes.set_ylabel(name)
        axes.legend()
    axes.set_xlabel('iteration')
    with files.whole(path) as draft:
        figure.savefig(draft)

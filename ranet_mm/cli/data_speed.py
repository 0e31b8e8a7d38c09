"""Measure what the data of a config cost: the ordinary path and the one on the device, in turns.

A batch's cost is the time from asking the loader for it until the data preprocessor has handed it on, both in the
training process. The ratio is of turns of one round, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from statistics import median
from typing import TYPE_CHECKING

from ..mm import config
from . import program

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser('data-speed', __doc__, positive=('rounds', 'batches'))
    parser.add_config()
    parser.add_argument('--rounds', type=int, default=10, metavar='N', help='turns of each path')
    parser.add_argument('--batches', type=int, default=4, metavar='N', help='batches in a turn')
    parser.add_argument('--json', **program.FILE, help='write every turn to this file too')
    return parser.parse_args(argv)


def data_speed(args: argparse.Namespace) -> None:
    """Measure, print a line for each path and their ratio, and write JSON where it is asked for."""
    from ..mm.data.device import on_device

    ordinary = config.load_config(args)
    ordinary.train_dataloader.update(num_workers=0, persistent_workers=False)
    moved = deepcopy(ordinary)
    on_device(moved)
    paths = {name: batches(cfg) for name, cfg in (('ordinary', ordinary), ('device', moved))}
    turns = {name: [] for name in paths}
    for _ in range(args.rounds + 1):
        for name, path in paths.items():
            turns[name].append(turn(path, args.batches))
    turns = {name: values[1:] for name, values in turns.items()}  # the first turn loads and warms up
    for name, values in turns.items():
        print(f'{name:8}  {median(values):7.1f} us an image, {min(values):.1f} to {max(values):.1f}')
    ratios = [a / b for a, b in zip(turns['ordinary'], turns['device'], strict=True)]
    print(f'ratio     {median(ratios):7.1f}, {min(ratios):.1f} to {max(ratios):.1f}, of {args.rounds} rounds')
    if args.json:
        program.write_json(args.json, dict(microseconds=turns, ratios=ratios))


def batches(cfg: Config) -> Iterator[int]:
    """Make training batches without end, as the network gets them, and say how many images each has."""
    from mmengine.device import get_device
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    from .browse_dataset import build_preprocessor

    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    preprocessor = build_preprocessor(cfg).to(get_device())
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    for batch in itertools.chain.from_iterable(itertools.repeat(loader)):
        yield len(preprocessor(batch, True)['inputs'])


def turn(path: Iterator[int], count: int) -> float:
    """Microseconds of each image of some batches."""
    import torch

    started = time.perf_counter()
    images = sum(itertools.islice(path, count))
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / images * 1e6


main = program.entry(data_speed, parse_args)

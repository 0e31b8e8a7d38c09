"""Measure what the data of a config cost: the ordinary path and the one on the device, in turns.

A batch's cost is the time from asking the loader for it until the data preprocessor has handed it on, both in the
training process. The ratio is of turns of one round, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import itertools
from argparse import Namespace
from collections.abc import Iterator
from copy import deepcopy
from statistics import median

from .. import files
from ..lab.speed import seconds
from ..mm import config
from .browse_dataset import build
from .program import COUNT, FILE, command, config_options, option


@command(
    config_options,
    option('--rounds', **COUNT, default=10, help='turns of each path'),
    option('--batches', **COUNT, default=4, help='batches in a turn'),
    option('--json', **FILE, help='write every turn to this file too'),
)
def main(args: Namespace) -> None:
    """Measure, print a line for each path and their ratio, and write JSON where it is asked for."""
    from ..mm.data.device import on_device

    ordinary = config.load_config(args)
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
        files.write_json(args.json, dict(microseconds=turns, ratios=ratios))


def batches(cfg: config.Config) -> Iterator[int]:
    """Make training batches without end, as the network gets them, and say how many images each has."""
    from mmengine.device import get_device

    loader, preprocessor = build(cfg, 'train_dataloader')
    preprocessor.to(get_device())
    for batch in itertools.chain.from_iterable(itertools.repeat(loader)):
        yield len(preprocessor(batch, True)['inputs'])


def turn(path: Iterator[int], count: int) -> float:
    """Microseconds of each image of some batches."""
    images = []
    return seconds(lambda: images.append(next(path)), count) / sum(images) * 1e6

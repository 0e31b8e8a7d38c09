"""Run the grids of sweep files: skip finished runs, resume cut ones, go on after a failed one."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..lab.board import Board
from ..lab.cost import images
from ..lab.grid import REST, Cell, collect
from ..lab.pool import Places, Pool
from ..machine import cores
from . import program

FAILED, UNFINISHED = 1, 3
RATES = (10_000, 20_000)  # images/s


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = program.Parser(
        prog='sweep', description=__doc__,
        epilog='Exit code: 0 every cell has its record, 1 a cell failed, 3 cells are left for the next call.',
    )  # fmt: skip
    parser.add_argument('files', nargs='+', metavar='FILE', help='sweep files, the most valuable first')
    parser.add_argument('--only', nargs='+', default=[], metavar='AXIS=VALUE', help='run these cells alone')
    parser.add_argument(
        '--max-minutes', type=float, default=math.inf, metavar='M',
        help='then stop: running cells write a checkpoint, from which the next call goes on',
    )  # fmt: skip
    parser.add_argument('--jobs', type=int, metavar='N', help="cells at a time, instead of what the files' jobs say")
    parser.add_argument('--threads', type=int, metavar='N', help='threads of each cell (cores / jobs by default)')
    parser.add_argument('--dry-run', action='store_true', help='list the cells: state, seconds, command')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/sweeps'), help='where the runs go')
    parser.add_argument('--records', type=Path, default=Path('results'), help='where records of finished runs go')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args(argv)
    for name in ('jobs', 'threads', 'max_minutes'):
        value = getattr(args, name)
        if value is not None and not value > 0:
            parser.error(f'--{name.replace("_", "-")} {value} is not allowed: it must be greater than 0')
    return args


def sweep(args: argparse.Namespace) -> int:
    """Run what has no record yet; the exit code tells what is left.

    Raises:
        ValueError: A cell takes the rest of the time, but there is no end to it.
    """
    cells = collect(args.files, args.only)
    if args.jobs:
        cells = [dataclasses.replace(c, jobs=args.jobs) for c in cells]
    places = Places(args.work_dir, args.records)
    if args.dry_run:
        show(cells, places)
        return 0
    states = [places.state(c) for c in cells]
    for cell, state in zip(cells, states, strict=True):
        if cell.minutes == REST and state != 'done' and args.max_minutes == math.inf:
            raise ValueError(f'{cell.title} takes the rest of the time: --max-minutes must say how much there is')
    threads = args.threads or default_threads(max(c.jobs for c in cells))
    pool = Pool(cells, places, Board(len(cells), states.count('done')), threads, 60 * args.max_minutes)
    outcomes = pool.run()
    left = outcomes['cut'] + outcomes['waiting']
    done = states.count('done') + outcomes['done']
    print(f'{done} of {len(cells)} cells done, {outcomes["failed"]} failed, {left} left')
    if outcomes['failed']:
        return FAILED
    return UNFINISHED if left else 0


def default_threads(jobs: int) -> int:
    """What OMP_NUM_THREADS says, or else an equal share of the cores."""
    return int(os.environ.get('OMP_NUM_THREADS', 0)) or max(1, cores() // jobs)


def show(cells: Sequence[Cell], places: Places) -> None:
    """Every cell with its state, its cost, that of all up to it which are not done, and its command."""
    print(f'Seconds of training at {" or ".join(f"{r:,}" for r in RATES)} images/s, starts and tests aside:')
    sums = (0.0,) * len(RATES)
    for cell in cells:
        state, cost = places.state(cell), seconds(cell)
        if not isinstance(cost, str):
            sums = sums if state == 'done' else tuple(a + b for a, b in zip(sums, cost, strict=True))
            cost = f'{_shown(cost)}; up to here {_shown(sums)}'
        print(f'{state:7} {cell.title}')
        print(f'        {cost}')
        print(f'        {shlex.join(["python", *cell.arguments(places.work_dir(cell))])}')
    done = sum(places.state(c) == 'done' for c in cells)
    print(f'{done} of {len(cells)} cells done')


def seconds(cell: Cell) -> tuple[float, ...] | str:
    """What a cell takes at each of the rates, or why that cannot be told."""
    if cell.minutes == REST:
        return 'the rest'
    if cell.minutes is not None:
        return (60 * cell.minutes,) * len(RATES)
    found = _images(cell.config, json.dumps(cell.options))
    return found if isinstance(found, str) else tuple(found / rate for rate in RATES)


@functools.cache
def _images(config: str, options: str) -> int | str:
    """Images that a run trains on, or a question mark, with the error where the config does not take the options."""
    from ..mm.config import read_config
    from ..mm.engine.console import quiet_imports

    quiet_imports()
    try:
        return images(read_config(config, json.loads(options))) or '?'
    except Exception as error:
        return f'? ({program.sentence(error)})'


def _shown(cost: tuple[float, ...]) -> str:
    return f'{" or ".join(dict.fromkeys(f"{round(s, 1):g}" for s in cost))} s'


main = program.entry(sweep, parse_args)

"""Run the grids of sweep files: skip finished runs, resume cut ones, go on after a failed one."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..sweep.board import Board
from ..sweep.grid import Cell, collect
from ..sweep.pool import Places, Pool
from . import common

FAILED, UNFINISHED = 1, 3


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = common.Parser(
        prog='sweep', description=__doc__,
        epilog='Exit code: 0 every cell has its record, 1 a cell failed, 3 cells are left for the next call.',
    )  # fmt: skip
    parser.add_argument('files', nargs='+', metavar='FILE', help='sweep files, the most valuable first')
    parser.add_argument('--only', nargs='+', default=[], metavar='AXIS=VALUE', help='run these cells alone')
    parser.add_argument(
        '--max-minutes', type=float, default=float('inf'), metavar='M',
        help='then stop: running cells write a checkpoint, from which the next call goes on',
    )  # fmt: skip
    parser.add_argument('--jobs', type=int, metavar='N', help="cells at a time, instead of what the files' jobs say")
    parser.add_argument('--threads', type=int, metavar='N', help='threads of each cell (cores / jobs by default)')
    parser.add_argument('--dry-run', action='store_true', help='list the cells, their state and their commands')
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
    """Run what has no record yet; the exit code tells what is left."""
    cells = collect(args.files, args.only)
    if args.jobs:
        cells = [dataclasses.replace(c, jobs=args.jobs) for c in cells]
    places = Places(args.work_dir, args.records)
    if args.dry_run:
        show(cells, places)
        return 0
    states = [places.state(c) for c in cells]
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
    return int(os.environ.get('OMP_NUM_THREADS', 0)) or max(1, common.cores() // jobs)


def show(cells: Sequence[Cell], places: Places) -> None:
    """Every cell with its state and the command that it stands for."""
    for cell in cells:
        print(f'{places.state(cell):7} {cell.title}')
        print(f'        {shlex.join(["python", *cell.arguments(places.work_dir(cell))])}')
    done = sum(places.state(c) == 'done' for c in cells)
    print(f'{done} of {len(cells)} cells done')


main = common.entry(sweep, parse_args)
